"""Prints the published JSON Schema: `python -m graven.event > docs/event.schema.json`."""

import json
import sys

from graven.event.model import json_schema

sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
