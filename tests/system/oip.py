"""Calls a daemon by the Open Inference Protocol through NVIDIA's own client, and prints what came of it as JSON.

    oip.py SCENARIO '{"url": "127.0.0.1:8000", ...}'
"""

import json
import sys
import threading

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from grpc import RpcError
from tritonclient.grpc import service_pb2
from tritonclient.grpc._utils import raise_error_grpc
from tritonclient.http._utils import _raise_if_error as raise_if_error
from tritonclient.utils import InferenceServerException


def said(call):
    """The status and message of an error, or what the call returned."""
    try:
        return call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}


def http_client(given, **more):
    return http.InferenceServerClient(given["url"], network_timeout=100, connection_timeout=100, **more)


def grpc_client(given, **more):
    return grpc.InferenceServerClient(given["url"], **more)


def tensor(protocol, array, name="x", datatype="FP32", **how):
    given = protocol.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, **how)
    return given


def outputs(result, response):
    """The outputs of a result, by name, as flat lists."""
    names = [output["name"] if isinstance(output, dict) else output.name for output in response]
    return {name: result.as_numpy(name).ravel().tolist() for name in names}


def sample(protocol, payload, **how):
    return tensor(protocol, np.array([payload], dtype=object), "sample", "BYTES", **how)


def texts(result):
    return {name: json.loads(result.as_numpy(name)[0]) for name in ("insight", "actions")}


def describe(given):
    """What the server says of itself and its models, in both forms."""
    h, g = http_client(given), grpc_client(given)
    model, pipeline = given["model"], given["pipeline"]
    return {
        "http": {
            "live": h.is_server_live(),
            "ready": h.is_server_ready(),
            "model_ready": h.is_model_ready(model),
            "version_ready": h.is_model_ready(model, "1"),
            "other_version_ready": h.is_model_ready(model, "2"),
            "server": h.get_server_metadata(),
            "model": h.get_model_metadata(model),
            "pipeline": h.get_model_metadata(pipeline, "1"),
            "index": h.get_model_repository_index(),
        },
        "grpc": {
            "live": g.is_server_live(),
            "ready": g.is_server_ready(),
            "model_ready": g.is_model_ready(model),
            "version_ready": g.is_model_ready(model, "1"),
            "other_version_ready": g.is_model_ready(model, "2"),
            "server": g.get_server_metadata(as_json=True),
            "model": g.get_model_metadata(model, as_json=True),
            "pipeline": g.get_model_metadata(pipeline, "1", as_json=True),
            "index": g.get_model_repository_index(as_json=True)["models"],
        },
    }


def infer(given):
    """One tensor through every form of both protocols."""
    h, g = http_client(given), grpc_client(given)
    array = np.fromfile(given["elements"], dtype=np.float32).reshape(given["shape"])
    model = given["model"]
    found = {}
    for name, binary_in, binary_out in [
        ("json", False, False),
        ("binary", True, True),
        ("binary_to_json", True, False),
        ("json_to_binary", False, True),
    ]:
        wanted = [http.InferRequestedOutput(given["output"], binary_data=binary_out)]
        result = h.infer(model, [tensor(http, array, binary_data=binary_in)], outputs=wanted, request_id="seven")
        found[name] = outputs(result, result.get_response()["outputs"])
        found["id"] = result.get_response()["id"]
    result = h.infer(model, [tensor(http, array)], model_version="1")
    found["all_outputs"] = outputs(result, result.get_response()["outputs"])
    result = g.infer(model, [tensor(grpc, array)], request_id="seven")
    found["grpc"] = outputs(result, result.get_response().outputs)
    assert result.get_response().id == "seven"
    # The client itself sends raw bytes alone; the message has room for typed lists.
    request = service_pb2.ModelInferRequest(model_name=model)
    typed = request.inputs.add(name="x", datatype="FP32", shape=list(array.shape))
    typed.contents.fp32_contents.extend(array.ravel().tolist())
    response = g._client_stub.ModelInfer(request)
    raw = np.frombuffer(response.raw_output_contents[0], dtype=np.float32)
    found["grpc_typed"] = {response.outputs[0].name: raw.tolist()}
    return found


def pipeline(given):
    """One sample through the pipeline, in every form."""
    h, g = http_client(given), grpc_client(given)
    with open(given["file"], "rb") as file:
        payload = file.read()
    name = given["pipeline"]
    parameters = {"content_type": given["content_type"], "source": "camera-7"}
    answers = [
        h.infer(name, [sample(http, payload)], request_id="by-http", parameters=parameters),
        g.infer(name, [sample(grpc, payload)], request_id="by-grpc", parameters=parameters),
    ]
    one = h.infer(name, [sample(http, payload)], outputs=[http.InferRequestedOutput("actions", binary_data=False)])
    return {
        "answers": [texts(answer) for answer in answers],
        "one": [output["name"] for output in one.get_response()["outputs"]],
        "actions": json.loads(one.as_numpy("actions")[0]),
        "no_picture": said(lambda: h.infer(name, [sample(http, "no picture", binary_data=False)])),
        "two_samples": said(lambda: h.infer(name, [sample(http, payload), sample(http, payload)])),
        "bad_id": said(lambda: h.infer(name, [sample(http, payload)], request_id="x" * 500)),
    }


def nothing(form, client):
    """A call that the protocol does not have."""
    if form == "http":
        raise_if_error(client._get("v2/nothing", None, None))
        return None
    try:
        return client._channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"")
    except RpcError as error:
        raise_error_grpc(error)


def errors(given):
    """Every refusal, over HTTP and over gRPC."""
    right = np.zeros(given["shape"], dtype=np.float32)
    model = given["model"]
    found = {}
    for form, protocol, client in [("http", http, http_client(given)), ("grpc", grpc, grpc_client(given))]:
        def call(model=model, inputs=None, **more):
            return said(lambda: client.infer(model, inputs or [tensor(protocol, right)], **more))

        half = protocol.InferInput("x", [2], "UINT16")
        half.set_data_from_numpy(np.zeros(2, dtype=np.uint16))
        short = protocol.InferInput("x", given["shape"], "FP32")
        short.set_data_from_numpy(right)
        short._shape = given["shape"][:-1] + [given["shape"][-1] + 1]
        short.shape = lambda: short._shape
        if form == "grpc":
            short._input.shape[-1] += 1
        found[form] = {
            "unknown_model": call("nothing"),
            "unknown_version": call(model_version="2"),
            "wrong_type": call(inputs=[tensor(protocol, right.astype(np.float64), datatype="FP64")]),
            "wrong_shape": call(inputs=[tensor(protocol, right[0])]),
            "wrong_bytes": call(inputs=[short]),
            "unknown_input": call(inputs=[tensor(protocol, right, name="y")]),
            "unknown_output": call(outputs=[protocol.InferRequestedOutput("y")]),
            "unknown_type": call(inputs=[half]),
            "sample_for_a_model": call(inputs=[sample(protocol, b"x")]),
            "sequence": call(sequence_id=5),
            "metadata": said(lambda: client.get_model_metadata("nothing")),
            "not_there": said(lambda: nothing(form, client)),
        }
    return found


def callers(given):
    """Who is let in: by a token, or by a certificate."""
    array = np.zeros(given["shape"], dtype=np.float32)
    headers = given.get("headers")
    tls = given.get("tls")
    more_http, more_grpc = {}, {}
    if tls:
        options = {"ca_certs": tls["ca"]}
        if "certificate" in tls:
            options |= {"certfile": tls["certificate"], "keyfile": tls["key"]}
        more_http = {"ssl": True, "ssl_options": options}
        more_grpc = {
            "ssl": True,
            "root_certificates": tls["ca"],
            "private_key": tls.get("key"),
            "certificate_chain": tls.get("certificate"),
        }

    def by(protocol, client):
        def call():
            # A copy: the client adds to it.
            result = client.infer(given["model"], [tensor(protocol, array)], headers=headers and dict(headers))
            return {"status": "answered", "sum": float(result.as_numpy(given["output"]).sum())}

        try:
            return said(call)
        except Exception as error:  # what a broken handshake ends with depends on the library below
            return {"status": "broken", "message": repr(error)}

    return {"http": by(http, http_client(given, **more_http)), "grpc": by(grpc, grpc_client(given, **more_grpc))}


def limits(given):
    """Bodies that are too large, requests that are too many or take too long."""
    h, g = http_client(given), grpc_client(given)
    large = np.zeros([1, 3, 48, 4096], dtype=np.float32)
    array = np.zeros(given["shape"], dtype=np.float32)
    name, model = given["pipeline"], given["model"]
    found = {
        "large_http": said(lambda: h.infer(model, [tensor(http, large)])),
        "large_grpc": said(lambda: g.infer(model, [tensor(grpc, large)])),
        "large_name": said(lambda: g.is_model_ready("x" * 100_000)),
    }

    def hold():
        # The client's objects belong to one thread each; this call may itself come while another has the one place.
        found["slow"] = {"status": "503"}
        while found["slow"]["status"] == "503":
            found["slow"] = said(lambda: http_client(given).infer(name, [sample(http, b"loop")]))

    for form, call in [
        ("busy_http", lambda: h.infer(model, [tensor(http, array)])),
        ("busy_grpc", lambda: g.infer(model, [tensor(grpc, array)])),
    ]:
        holder = threading.Thread(target=hold)
        holder.start()
        found[form] = None
        while holder.is_alive() and not isinstance(found[form], dict):
            found[form] = said(call)
        found["ready_meanwhile"] = [h.is_server_ready(), g.is_server_ready()]
        holder.join()
    found["late_http"] = said(lambda: h.infer(name, [sample(http, b"loop")], timeout=1000))
    found["late_grpc"] = said(lambda: g.infer(name, [sample(grpc, b"loop")], timeout=1000))
    return found


def one(given):
    """One sample, until it is answered."""
    return said(lambda: texts(http_client(given).infer(given["pipeline"], [sample(http, given["payload"].encode())])))


if __name__ == "__main__":
    scenario, given = sys.argv[1:]
    print(json.dumps(globals()[scenario](json.loads(given))))
