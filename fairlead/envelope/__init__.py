"""What travels between strangers, signed: query, question, grant, answer, outcome.

Protobuf messages stop in these files: callers get frozen domain objects that verified.
"""
