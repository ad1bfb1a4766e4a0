"""``make policies``, the schemas: write ``policies/schema/<point>.json``, and that of the cubes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fairlead.cubes.documents import json_schema
from fairlead.policy.input_schemas import input_schemas

SCHEMA = Path(__file__).resolve().parent.parent / "policies" / "schema"


def main() -> int:
    """Write all of them."""
    for point, schema in input_schemas().items():
        (SCHEMA / f"{point}.json").write_text(json.dumps(schema, indent=1) + "\n")
    (SCHEMA / "cubes.schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
