# Licensed under the Apache License 2.0; see LICENSE.
"""Reads requests of OTLP's JSON form, one a line, by the published definitions, and prints each as `accepted` or as what is wrong.
Needs the environment `openapi`. Ids are hexadecimal there, where protobuf's own JSON would have base64."""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def with_base64_ids(value):
    if isinstance(value, list):
        return [with_base64_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: base64.b64encode(bytes.fromhex(one)).decode() if name in ("traceId", "spanId", "parentSpanId")
            else with_base64_ids(one) for name, one in value.items()}


for line in sys.stdin:
    try:
        request = json_format.Parse(json.dumps(with_base64_ids(json.loads(line))), ExportTraceServiceRequest())
        spans = [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]
        assert spans and all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans)
        print("accepted", flush=True)
    except Exception as trouble:  # whatever it is, the test is to show it
        print(f"refused: {trouble}", flush=True)
