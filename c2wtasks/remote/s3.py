"""A remote cache in an S3 bucket: a web server whose requests are signed (AWS Signature Version 4).

Who asks, and where, is in the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION (or AWS_DEFAULT_REGION), and for other servers than Amazon's AWS_ENDPOINT_URL. Without a key nothing is
signed. (`obstore` would do this, too, but not in processes that are forked, and with time limits of its own.)
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote
from xml.etree import ElementTree

from c2wtasks.oci.access import Access
from c2wtasks.registry.limits import Limits
from c2wtasks.registry.wire import split
from c2wtasks.remote.transport import Kept, RemoteFailure, kept_at
from c2wtasks.remote.web import Web

_MAX_LISTING = 8 << 20
_MAX_PAGES = 10_000


class Bucket(Web):
    """The part of a bucket below a prefix."""

    def __init__(self, bucket: str, prefix: str, access: Access, limits: Limits) -> None:
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
        self._bucket = f"{endpoint}/{bucket}" if endpoint else f"https://{bucket}.s3.{self._region}.amazonaws.com"
        self._prefix = f"{prefix}/" if prefix else ""
        super().__init__(f"{self._bucket}/{prefix}".rstrip("/"), access, limits)

    def kept(self) -> Iterator[Kept]:
        """All that is there."""
        more = ""
        for _ in range(_MAX_PAGES):
            fields = {"list-type": "2", "prefix": self._prefix} | ({"continuation-token": more} if more else {})
            query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(fields.items()))
            text = self.read(f"{self._bucket}/?{query}", _MAX_LISTING)
            if text is None:
                return
            try:
                page = ElementTree.fromstring(text)
            except ElementTree.ParseError as error:
                raise RemoteFailure("its list cannot be read") from error
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            for item in page.iter(f"{space}Contents"):
                if (found := self._found(*(item.findtext(f"{space}{one}", "") for one in _FIELDS))) is not None:
                    yield found
            more = page.findtext(f"{space}NextContinuationToken", "")
            if not more:
                return

    def _found(self, key: str, size: str, changed: str) -> Kept | None:
        try:
            age = time.time() - datetime.fromisoformat(changed).timestamp()
            return kept_at(key.removeprefix(self._prefix), int(size), age)
        except ValueError:
            return None

    def headers(self, method: str, url: str, sha256: str) -> dict[str, str]:
        """The headers that sign a request whose body has this SHA-256."""
        key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if not key_id or not secret:
            return {}
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        named = {"host": split(url)[1], "x-amz-content-sha256": sha256, "x-amz-date": moment}
        if token := os.environ.get("AWS_SESSION_TOKEN", ""):
            named["x-amz-security-token"] = token
        own = {name: value for name, value in named.items() if name != "host"}
        return {**own, "Authorization": signature(method, url, named, self._region, key_id, secret)}


_FIELDS = ("Key", "Size", "LastModified")


def signature(method: str, url: str, headers: dict[str, str], region: str, key_id: str, secret: str) -> str:
    """The header Authorization of a request to S3 with these headers, in lower case (Signature Version 4, "Create a
    signed request"). Pure."""
    path, _, query = url.partition("://")[2].partition("?")
    path = "/" + path.partition("/")[2]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join((method, path, query, lines, names, headers["x-amz-content-sha256"]))
    day = headers["x-amz-date"][:8]
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest))
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signed}"


def opened(url: str, access: Access, limits: Limits) -> Bucket:
    """The remote cache at `s3://BUCKET/PREFIX`.

    Raises RemoteFailure: AWS_ENDPOINT_URL is no URL.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise RemoteFailure("AWS_ENDPOINT_URL is not a URL of http or https")
    return Bucket(bucket, prefix, access, limits)
