"""A local server that answers as the Hub's documented HTTP API does, for creating repositories and uploading to them.

create_repo, the list of files, preupload, LFS uploads and commits: huggingface.co/docs/hub/api, and what
huggingface_hub 2.4 asks. Its repositories live in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

RIGHT, READ_ONLY = "hf_mayWrite", "hf_readOnly"


class HubServer:
    """`repositories`: (kind, name) → {"private", "sdk", "files": name → bytes}. `tokens`: those that were sent."""

    def __init__(self):
        self.repositories: dict[tuple[str, str], dict] = {}
        self.objects: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.get(self)

            def do_POST(self):
                hub.post(self)

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.objects[hashlib.sha256(body).hexdigest()] = body
                hub.reply(self, 200, {})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, request, status: int, answer) -> None:
        body = json.dumps(answer).encode()
        request.send_response(status)
        if status >= 400:
            request.send_header("X-Error-Message", answer["error"])
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def may_write(self, request) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.add(token)
        if token != RIGHT:
            self.reply(request, 403, {"error": "You don't have the rights to create a model under this namespace"})
        return token == RIGHT

    def get(self, request) -> None:
        parts = urlparse(request.path).path.strip("/").split("/")
        kind, name = parts[1], "/".join(parts[2:4])
        found = self.repositories.get((kind, name))
        if found is None:
            return self.reply(request, 404, {"error": "Repository not found"})
        sizes = {path: len(body) for path, body in found["files"].items()}
        if "tree" in parts:
            files = [{"type": "file", "path": path, "size": size, "oid": "0" * 40} for path, size in sizes.items()]
            return self.reply(request, 200, files)
        siblings = [{"rfilename": path} for path in sizes]
        answer = {"id": name, "sha": "0" * 40, "siblings": siblings, "private": found["private"]}
        return self.reply(request, 200, answer)

    def post(self, request) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        parts = urlparse(request.path).path.strip("/").split("/")
        if not self.may_write(request):
            return None
        if parts[:3] == ["api", "repos", "create"]:
            return self.create(request, json.loads(body))
        if parts[:2] == ["api", "validate-yaml"]:
            return self.reply(request, 200, {"errors": [], "warnings": []})
        if parts[-1] == "batch":
            return self.batch(request, json.loads(body))
        kind, name = parts[1], "/".join(parts[2:4])
        if parts[4] == "preupload":
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.reply(request, 200, {"files": modes})
        return self.commit(request, kind, name, body)

    def create(self, request, asked: dict) -> None:
        kind = f"{asked.get('type', 'model')}s"
        key = (kind, f"{asked['organization']}/{asked['name']}")
        address = f"{self.address}/{'' if kind == 'models' else kind + '/'}{key[1]}"
        if key in self.repositories:
            answer = {"error": "You already created this model repo", "url": address}
            return self.reply(request, 409, answer)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        files = {".gitattributes": b"*.safetensors filter=lfs"}
        self.repositories[key] = {"private": private, "sdk": asked.get("sdk"), "files": files}
        return self.reply(request, 200, {"url": address, "name": key[1]})

    def batch(self, request, asked: dict) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.address}/lfs/{each['oid']}", "header": {}}}}
            for each in asked["objects"]
        ]
        self.reply(request, 200, {"transfer": "basic", "objects": objects})

    def commit(self, request, kind: str, name: str, body: bytes) -> None:
        files = self.repositories[(kind, name)]["files"]
        for line in body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        answer = {"commitOid": "1" * 40, "commitUrl": f"{self.address}/{name}/commit/{'1' * 40}", "success": True}
        self.reply(request, 200, answer)
