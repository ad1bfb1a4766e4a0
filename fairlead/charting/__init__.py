"""Charts of published figures as SVG, each with the table of what it shows.

A picture here runs nothing, loads nothing, and is made of the very grid that its table is made of.
Nothing rests on colour: lines differ in their marks and dashes too, and bear their names.
"""
