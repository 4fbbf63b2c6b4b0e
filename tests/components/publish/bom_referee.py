"""What CycloneDX's own library says of bills of materials: nothing, or the faults that it finds.

Runs in the environment of build_referees.sh, with the documents' paths as its arguments. Holds each
to the official schema of 1.6 without exceptions, reads it, and looks whether every reference in it
leads somewhere.
"""

import json
import sys
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in sys.argv[1:]:
    text = Path(path).read_text()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault:
        print(fault)
    else:
        Bom.from_json(json.loads(text)).validate()
