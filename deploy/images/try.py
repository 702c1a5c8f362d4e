#!/usr/bin/env python3
"""Runs what is in unpacked images: the router, and the demo app with the extension, together.

    try.py FOLDER PROCESSOR RIE     FOLDER has the bundles router, extension and demo-app

Each program runs on its image's own root and as its own user. On this machine's processor, the function's
image is started by AWS's own Runtime Interface Emulator, the program RIE. Other processors run under qemu,
which RIE cannot start programs with: there, this script is as much of AWS Lambda as one environment needs.
"""

import http.client
import http.server
import json
import os
import pathlib
import platform
import queue
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

folder, processor, rie = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
native = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
qemu = {"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[processor]
running = []
PATIENCE = 120


def command(image, *arguments):
    """An image's entry point and arguments, to be run in its root."""
    root = folder / image / "rootfs"
    process = json.loads((folder / image / "config.json").read_text())["process"]
    user = "{uid}:{gid}".format(**process["user"])
    assert user == "65532:65532", user
    words = list(arguments) if image == "extension" else [process["args"][0], *arguments]
    if processor != native:
        if not (root / "qemu").exists():  # Another program of this image may be running on it.
            shutil.copy(shutil.which(qemu), root / "qemu")
        words = ["/qemu", *words]
    env = dict(it.split("=", 1) for it in process["env"])
    return ["chroot", f"--userspec={user}", root, *words], env


def once(image, *arguments, **variables):
    words, env = command(image, *arguments)
    return subprocess.run(words, env=env | variables, capture_output=True, text=True, timeout=PATIENCE)


def start(image, *arguments, **variables):
    words, env = command(image, *arguments)
    log = (folder / f"{image}.log").open("w")
    running.append(subprocess.Popen(words, env=env | variables, stdout=log, stderr=log))
    return running[-1]


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def get(port, path, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"images: {processor}: {what}: not within {PATIENCE} s")


class Lambda(http.server.BaseHTTPRequestHandler):
    """One environment: its Invoke, Runtime and Extensions APIs, without time-outs or freezes."""

    protocol_version = "HTTP/1.1"
    invokes, answers, outcomes = queue.Queue(), {}, []

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.endswith("/invocation/next"):
            name, payload = self.invokes.get()
            self.answer(
                200,
                payload,
                Lambda_Runtime_Aws_Request_Id=name,
                Lambda_Runtime_Deadline_Ms=str(int((time.time() + 60) * 1000)),
                Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
            )
        else:
            threading.Event().wait()  # no shutdown comes

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/invocations"):
            name = f"invoke-{len(self.answers)}"
            done = self.answers[name] = queue.Queue()
            self.invokes.put((name, body))
            self.answer(200, done.get(), X_Amz_Executed_Version="$LATEST", x_amzn_RequestId=name)
        elif "/invocation/" in self.path:
            name, outcome = self.path.split("/")[-2:]
            self.outcomes.append(outcome)
            self.answers[name].put(body)
            self.answer(202)
        else:
            self.answer(200, b"{}", Lambda_Extension_Identifier="1")

    def log_message(self, *_):
        pass


def own_lambda(app):
    """This script's Lambda, with app and extension started: (where it is, invokes that went well)."""
    lambdas = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lambda)
    lambdas.daemon_threads = True
    lambdas.handle_error = lambda *_: None  # the router hangs up when it ends
    threading.Thread(target=lambdas.serve_forever, daemon=True).start()
    api = f"127.0.0.1:{lambdas.server_port}"
    start("demo-app", "__demo-app", **app)
    start("extension", "/opt/extensions/lambda-dispatch", AWS_LAMBDA_RUNTIME_API=api, **app)
    return api, lambda: [it for it in Lambda.outcomes if it == "response"]


def aws_lambda(app):
    """AWS's emulator, which starts app and extension from the image itself."""
    root = folder / "demo-app/rootfs"
    shutil.copy(rie, root / "rie")
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(root / "dev/null", 0o666)
    api, runtime = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (*chroot, program), env = command("demo-app")
    words = [*chroot, "/rie", "--runtime-interface-emulator-address", api]
    words += ["--runtime-api-address", runtime, program, "__demo-app"]
    log = folder / "rie.log"
    with log.open("w") as out:
        running.append(subprocess.Popen(words, env=env | app, stdout=out, stderr=out))
    return api, lambda: re.findall(r"INVOKE RTDONE\(status: success", log.read_text())


def together():
    app, clients, control, admin = (free_port() for _ in range(4))
    # Loopback stands in for the VPC.
    variables = {"LAMBDA_DISPATCH_PORT": str(app), "LAMBDA_DISPATCH_ROUTER_CIDRS": "127.0.0.0/8"}
    api, went_well = (aws_lambda if processor == native else own_lambda)(variables)
    router = start(
        "router",
        "serve",
        LAMBDA_DISPATCH_POOL_FUNCTION="function",
        # More than one at a time is beyond AWS's emulator.
        LAMBDA_DISPATCH_POOL_INSTANCES_MAX="1",
        LAMBDA_DISPATCH_LISTEN_HTTP=f"127.0.0.1:{clients}",
        LAMBDA_DISPATCH_LISTEN_CONTROL=f"127.0.0.1:{control}",
        LAMBDA_DISPATCH_LISTEN_ADMIN=f"127.0.0.1:{admin}",
        LAMBDA_DISPATCH_CALLBACK_HOST="127.0.0.1",
        LAMBDA_DISPATCH_TIMEOUTS_DRAIN_DELAY="0s",
        LAMBDA_DISPATCH_AWS_ENDPOINT=f"http://{api}",
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="nobody",
        AWS_SECRET_ACCESS_KEY="nothing",
    )
    until("the router gets ready", lambda: get(admin, "/readyz")[0] == 200)
    # What the image's HEALTHCHECK runs, by what the router's own environment says.
    settings = {"LAMBDA_DISPATCH_POOL_FUNCTION": "function"}
    settings["LAMBDA_DISPATCH_LISTEN_ADMIN"] = f"127.0.0.1:{admin}"
    for question, answer in ([], "ready\n"), (["--live"], "OK\n"):
        said = once("router", "health", *question, **settings)
        assert (said.returncode, said.stdout) == (0, answer), said
    status, page = get(clients, "/")
    assert status == 200 and b"It works" in page, (status, page)
    sent = os.urandom(8 << 20)
    status, got = get(clients, "/echo", "POST", sent)
    assert status == 200 and got == sent, (status, len(got))

    router.terminate()
    assert router.wait(PATIENCE) == 0, "the router does not end well at SIGTERM"
    until("the invoke ends well", went_well)
    print(f"images: {processor}: a page and 8 MB through router, extension and app,", end=" ")
    print("in AWS's emulator" if processor == native else "under qemu")


def alone():
    said = once("router", "--help")
    assert said.returncode == 0 and "dial back" in said.stdout, said
    said = once("router", "check", "--function", "f:live", "--iam")
    assert json.loads(said.stdout)["Statement"][0]["Action"] == "lambda:InvokeFunction", said
    said = once("router", "serve")
    assert said.returncode != 0 and "pool.function" in said.stderr, said
    said = once("router", "health", "--live", LAMBDA_DISPATCH_POOL_FUNCTION="f")
    assert said.returncode == 1 and "127.0.0.1:5005" in said.stderr, said
    said = once("extension", "/opt/extensions/lambda-dispatch")
    assert said.returncode != 0 and "AWS_LAMBDA_RUNTIME_API" in said.stderr, said
    print(f"images: {processor}: router and extension say what they are and what they miss")


try:
    alone()
    together()
except BaseException:
    for log in folder.glob("*.log"):
        print(f"--- {log.stem}\n{log.read_text()}", file=sys.stderr)
    raise
finally:
    for process in running:
        process.kill()
        process.wait()
    # What AWS's emulator started, which it leaves behind: all that has one of these roots.
    for root in pathlib.Path("/proc").glob("[0-9]*/root"):
        try:
            ours = pathlib.Path(os.readlink(root)).is_relative_to(folder.resolve())
        except OSError:
            continue  # it has ended
        if ours:
            os.kill(int(root.parent.name), signal.SIGKILL)
