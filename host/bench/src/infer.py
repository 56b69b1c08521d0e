"""Runs ONNX models with ONNX Runtime's own package: a JSON line when ready, then one for each JSON line on standard input."""

import json
import sys
import time

try:
    from importlib.metadata import version

    import numpy
    import onnxruntime
except ImportError as error:
    print(json.dumps({"missing": str(error)}), flush=True)
    sys.exit(0)

SESSIONS = {}


def load(request):
    """Makes a session under a name, and runs it once on inputs that lie in files."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    inputs = {
        item["name"]: numpy.fromfile(item["file"], item["type"]).reshape(item["shape"])
        for item in request["inputs"]
    }
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(request["path"], options, providers=["CPUExecutionProvider"])
    results = session.run(None, inputs)
    first = time.perf_counter() - started
    SESSIONS[request["load"]] = (session, inputs)
    outputs = []
    for number, (output, value) in enumerate(zip(session.get_outputs(), results)):
        path = f"{request['to']}-{number}"
        value.tofile(path)
        outputs.append({"name": output.name, "file": path})
    return {"first": first, "outputs": outputs}


def run(request):
    """Runs a session once unmeasured and then `times` times."""
    session, inputs = SESSIONS[request["run"]]
    session.run(None, inputs)
    seconds = []
    for _ in range(request["times"]):
        started = time.perf_counter()
        session.run(None, inputs)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def door(request):
    """Calls a model over the Open Inference Protocol with its usual client, once unmeasured and then `times` times."""
    try:
        if request["door"] == "grpc":
            import tritonclient.grpc as triton
        else:
            import tritonclient.http as triton
    except ImportError as error:
        return {"missing": str(error)}
    client = CLIENTS.get((request["door"], request["address"]))
    if client is None:
        client = CLIENTS[(request["door"], request["address"])] = triton.InferenceServerClient(request["address"])
    inputs = []
    for item in request["inputs"]:
        value = numpy.fromfile(item["file"], item["type"]).reshape(item["shape"])
        tensor = triton.InferInput(item["name"], list(value.shape), item["datatype"])
        tensor.set_data_from_numpy(value)
        inputs.append(tensor)
    client.infer(request["model"], inputs)
    seconds = []
    for _ in range(request["times"]):
        started = time.perf_counter()
        client.infer(request["model"], inputs)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


CLIENTS = {}

print(json.dumps({"version": version("onnxruntime")}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "load" in request:
        answer = load(request)
    elif "run" in request:
        answer = run(request)
    elif "door" in request:
        answer = door(request)
    else:
        SESSIONS.pop(request["drop"], None)
        answer = {}
    print(json.dumps(answer), flush=True)
