"""Triton's extensions and the odd forms of requests, through NVIDIA's client and through plain HTTP, and prints what came of it as JSON.

    triton.py SCENARIO '{"url": "127.0.0.1:8000", ...}'
"""

import base64
import gzip
import http.client
import json
import pathlib
import sys
import threading
import zlib

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http_protocol
from grpc import RpcError, insecure_channel

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from oip import grpc_client, http_client, sample, said, tensor, texts  # noqa: E402


def post(given, path, body, **headers):
    """The status, the headers and the JSON of a plain POST. `_` in a header's name is `-`."""
    host, port = given["url"].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=100)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    if found.get("content-encoding") == "gzip":
        content = gzip.decompress(content)
    return {"status": answer.status, "headers": found, "body": json.loads(content)}


def describe(given):
    """Configuration and statistics in both forms, before and after requests."""
    h, g = http_client(given), grpc_client(given)
    model = given["model"]
    array = np.zeros(given["shape"], dtype=np.float32)

    def statistics():
        return {
            "http": h.get_inference_statistics(model, "1")["model_stats"][0],
            "grpc": g.get_inference_statistics(model, as_json=True)["model_stats"][0],
        }

    before = statistics()
    h.infer(model, [tensor(http_protocol, array)])
    g.infer(model, [tensor(grpc, array)])
    said(lambda: h.infer(model, [tensor(http_protocol, array[0])]))
    return {
        "http": h.get_model_config(model),
        "http_version": h.get_model_config(model, "1"),
        "grpc": g.get_model_config(model, as_json=True)["config"],
        "pipeline": h.get_model_config(given["pipeline"]),
        "before": before,
        "after": statistics(),
        "all": [each["name"] for each in h.get_inference_statistics()["model_stats"]],
        "all_grpc": [each.name for each in g.get_inference_statistics().model_stats],
        "unknown": {
            form: said(lambda: client.get_inference_statistics("nothing"))
            for form, client in [("http", h), ("grpc", g)]
        },
    }


def compressed(given):
    """One tensor, compressed in each way; and an answer that is long enough to be compressed."""
    h, g = http_client(given), grpc_client(given)
    array = np.linspace(-1, 1, int(np.prod(given["shape"])), dtype=np.float32).reshape(given["shape"])
    model, output = given["model"], given["output"]

    def by_http(**how):
        return h.infer(model, [tensor(http_protocol, array)], **how).as_numpy(output).ravel().tolist()

    def by_grpc(**how):
        return g.infer(model, [tensor(grpc, array)], **how).as_numpy(output).ravel().tolist()

    picture = np.zeros([1, 3, 64, 64], dtype=np.float32)
    name = h.get_model_metadata("detect")["inputs"][0]["name"]
    head = {"inputs": [{"name": name, "datatype": "FP32", "shape": [1, 3, 64, 64], "data": picture.ravel().tolist()}]}
    long = post(given, "/v2/models/detect/infer", json.dumps(head), Accept_Encoding="gzip, deflate")
    plain = post(given, "/v2/models/detect/infer", json.dumps(head))
    binary = {
        how: h.infer("detect", [tensor(http_protocol, picture, name)], response_compression_algorithm=how)
        for how in [None, "gzip", "deflate"]
    }
    first = binary[None].get_response()["outputs"][0]["name"]
    sums = {str(how): float(result.as_numpy(first).sum()) for how, result in binary.items()}
    return {
        "plain": by_http(),
        "http": {
            how: by_http(request_compression_algorithm=how, response_compression_algorithm=how)
            for how in ["gzip", "deflate"]
        },
        "grpc": {how: by_grpc(compression_algorithm=how) for how in ["gzip", "deflate"]},
        "encoding": long["headers"].get("content-encoding"),
        "no_encoding": plain["headers"].get("content-encoding"),
        "same": long["body"]["outputs"] == plain["body"]["outputs"],
        "sums": sums,
    }


def bombs(given):
    """Bodies that are small until they are decompressed, and ones that are not what they say."""
    g = grpc_client(given)
    large = np.zeros([1, 3, 48, 4096], dtype=np.float32)
    path = f"/v2/models/{given['model']}/infer"
    zeros = b"\0" * (8 << 20)
    return {
        "http": post(given, path, gzip.compress(zeros), Content_Encoding="gzip"),
        "deflate": post(given, path, zlib.compress(zeros), Content_Encoding="deflate"),
        "grpc": said(lambda: g.infer(given["model"], [tensor(grpc, large)], compression_algorithm="gzip")),
        "broken": post(given, path, b"no gzip", Content_Encoding="gzip"),
        "unknown": post(given, path, b"", Content_Encoding="br"),
    }


def samples(given):
    """Several samples in one request, and samples as files and as base64."""
    h, g = http_client(given), grpc_client(given)
    with open(given["file"], "rb") as file:
        payload = file.read()
    name = given["pipeline"]
    path = f"/v2/models/{name}/infer"
    batches = {}
    for form, protocol, client in [("http", http_protocol, h), ("grpc", grpc, g)]:
        for shape in [[2], [2, 1]]:
            array = np.array([payload, payload], dtype=object).reshape(shape)
            result = client.infer(name, [tensor(protocol, array, "sample", "BYTES")], request_id=form)
            insights = result.as_numpy("insight")
            batches[f"{form}{len(shape)}"] = {
                "shape": list(insights.shape),
                "insights": [json.loads(each) for each in insights.ravel()],
            }
    mixed = np.array([payload, b"no picture"], dtype=object)
    encoded = base64.b64encode(payload).decode()

    def in_json(data, **more):
        tensor = {"name": "sample", "datatype": "BYTES", "shape": [1], "data": [data]} | more
        return json.dumps({"inputs": [tensor]})

    files = {
        "header_length": post(given, path, payload, Inference_Header_Content_Length="0"),
        "png": post(given, path, payload, Content_Type="image/png"),
        "octets": post(given, path, payload, Content_Type="application/octet-stream"),
        # As curl has it.
        "form": post(given, path, payload, Content_Type="application/x-www-form-urlencoded"),
        "gzip": post(given, path, gzip.compress(payload), Content_Type="image/png", Content_Encoding="gzip"),
        "b64": post(given, path, in_json({"b64": encoded})),
        "base64": post(given, path, in_json(encoded, parameters={"content_type": "base64"})),
    }
    return {
        "batches": batches,
        "mixed": said(lambda: h.infer(name, [tensor(http_protocol, mixed, "sample", "BYTES")])),
        "files": files,
        "text": post(given, path, b"hello"),
        "tensor": post(given, f"/v2/models/{given['model']}/infer", payload, Content_Type="application/octet-stream"),
        "one": texts(h.infer(name, [sample(http_protocol, payload)])),
    }


def classes(given):
    """The classes of an output, and the output itself."""
    found = {}
    array = np.linspace(-1, 1, int(np.prod(given["shape"])), dtype=np.float32).reshape(given["shape"])
    for form, protocol, client in [("http", http_protocol, http_client(given)), ("grpc", grpc, grpc_client(given))]:
        def wanted(count):
            outputs = [protocol.InferRequestedOutput(given["output"], class_count=count)]
            return client.infer(given["model"], [tensor(protocol, array)], outputs=outputs).as_numpy(given["output"])

        two = wanted(2)
        found[form] = {
            "values": wanted(0).ravel().tolist(),
            "shape": list(two.shape),
            "classes": [each.decode() for each in two.ravel()],
        }
    return found


def refused(given):
    """What is not implemented, over HTTP and over gRPC."""
    h, g = http_client(given), grpc_client(given)
    model = given["model"]
    found = {
        form: {
            "load": said(lambda: client.load_model(model)),
            "unload": said(lambda: client.unload_model(model)),
            "shared": said(lambda: client.get_system_shared_memory_status()),
            "cuda": said(lambda: client.get_cuda_shared_memory_status()),
            "trace": said(lambda: client.get_trace_settings(model)),
            "log": said(lambda: client.get_log_settings()),
        }
        for form, client in [("http", h), ("grpc", g)]
    }
    shared = http_protocol.InferInput("x", given["shape"], "FP32")
    shared.set_shared_memory("region", 4)
    found["http"]["region"] = said(lambda: h.infer(model, [shared]))
    found["generate"] = post(given, f"/v2/models/{model}/generate", b"{}")

    ended, answered = threading.Event(), []

    def take(result, error):
        answered.append(error)
        ended.set()

    g.start_stream(take)
    # The stream may have ended before.
    said(lambda: g.async_stream_infer(model, [tensor(grpc, np.zeros(given["shape"], dtype=np.float32))]))
    ended.wait(60)
    g.stop_stream(cancel_requests=True)
    found["stream"] = {"status": answered[0].status(), "message": answered[0].message()}
    return found


def health(given):
    """The health of the server by gRPC's own protocol."""
    with insecure_channel(given["url"]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")

        def status(call):
            try:
                return list(call())
            except RpcError as error:
                metadata = dict(error.trailing_metadata() or ())
                return {
                    "code": error.code().name,
                    "message": error.details(),
                    "name": metadata.get("hotshoe-error"),
                }

        service = b"inference.GRPCInferenceService"
        return {
            "server": status(lambda: check(b"")),
            "service": status(lambda: check(b"\n" + bytes([len(service)]) + service)),
            "unknown": status(lambda: check(b"\n\x01x")),
            "malformed": status(lambda: check(b"\xff\xff")),
            "watch": status(lambda: list(watch(b""))),
        }


if __name__ == "__main__":
    scenario, given = sys.argv[1:]
    print(json.dumps(globals()[scenario](json.loads(given))))
