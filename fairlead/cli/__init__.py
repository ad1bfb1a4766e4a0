"""The commands of ``fairlead``, one file per noun."""
