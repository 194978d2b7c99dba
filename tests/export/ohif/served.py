"""The OHIF viewer as its npm package has it, on the loopback beside one study in DICOMweb."""

import json
import re
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom

DIST = Path(__file__).parent / "package" / "dist"

_EDGE = "edge-of-a-part"
_LEFT_OUT = ("PixelData",)


class Viewer(ThreadingHTTPServer):
    """Serves the viewer and the files of a study; `address` is that of the study in it."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.files = {pydicom.dcmread(file).SOPInstanceUID: file for file in files}
        self.headers = {uid: pydicom.dcmread(file) for uid, file in self.files.items()}
        self.study = next(iter(self.headers.values())).StudyInstanceUID

    @property
    def address(self) -> str:
        return f"{self.root}/viewer?StudyInstanceUIDs={self.study}"

    @property
    def config(self) -> dict[str, Any]:
        """What the viewer is told of itself."""
        root = f"{self.root}/dicomweb"
        source = {
            "friendlyName": "test", "name": "test", "qidoRoot": root, "wadoRoot": root,
            "wadoUriRoot": root, "qidoSupportsIncludeField": False, "imageRendering": "wadors",
            "thumbnailRendering": "wadors", "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": False, "supportsWildcard": False,
            "omitQuotationForMultipartRequest": True,
        }  # fmt: skip
        name = "@ohif/extension-default.dataSourcesModule.dicomweb"
        return {
            "extensions": [], "modes": [], "customizationService": {}, "showStudyList": False,
            "maxNumberOfWebWorkers": 1, "disableConfirmationPrompts": True,
            "investigationalUseDialog": {"option": "never"}, "defaultDataSourceName": "test",
            "dataSources": [{"namespace": name, "sourceName": "test", "configuration": source}],
        }  # fmt: skip

    def described(self, path: str) -> list[dict[str, Any]]:
        """What QIDO-RS or the metadata of WADO-RS answer."""
        series = re.search(r"/series/([\d.]+)", path)
        headers = [
            one
            for one in self.headers.values()
            if series is None or one.SeriesInstanceUID == series[1]
        ]
        if path.endswith("/studies"):
            return [_plain(headers[0])]
        if path.endswith("/series"):
            return [_plain(one) for one in {one.SeriesInstanceUID: one for one in headers}.values()]
        return [_plain(one) for one in headers]

    def pieces(self, path: str) -> tuple[str, list[bytes]]:
        """The kind and the parts of an instance, or of frames of it."""
        found = re.search(r"/instances/([\d.]+)(?:/frames/([\d,]+))?", path)
        assert found
        if found[2] is None:
            return "application/dicom", [self.files[found[1]].read_bytes()]
        header = self.headers[found[1]]
        count = int(header.get("NumberOfFrames", 1))
        assert count == 1, "frames of segmentations are wanted whole"
        return "application/octet-stream", [header.PixelData]


class _Handler(SimpleHTTPRequestHandler):
    server: Viewer

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, directory=str(DIST))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/app-config.js":
            text = f"window.config = {json.dumps(self.server.config)};"
            self._give(text.encode(), "text/javascript")
        elif "/instances/" in path and path.startswith("/dicomweb/"):
            kind, parts = self.server.pieces(path)
            head = f"--{_EDGE}\r\nContent-Type: {kind}\r\n\r\n".encode()
            body = b"".join(head + part + b"\r\n" for part in parts) + f"--{_EDGE}--\r\n".encode()
            self._give(body, f'multipart/related; type="{kind}"; boundary={_EDGE}')
        elif path.startswith("/dicomweb/"):
            found = self.server.described(path)
            self._give(json.dumps(found).encode(), "application/dicom+json")
        else:
            if not (DIST / path.lstrip("/")).is_file():
                self.path = "/index.html"
            super().do_GET()

    def end_headers(self) -> None:
        """The viewer shares memory between threads, which browsers allow to such pages alone."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _give(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _plain(header: pydicom.Dataset) -> dict[str, Any]:
    """A header in DICOM JSON, without pixels and what is private."""
    kept = pydicom.Dataset({one.tag: one for one in header if not one.tag.is_private})
    for keyword in _LEFT_OUT:
        kept.pop(keyword, None)
    return kept.to_json_dict()
