"""Python's email package and dkimpy, as a judge of messages.

Reads one JSON object a line: {"message": base64, "records": {name: TXT record}}. Without "records" it answers with the
fields and parts that the email package finds; with them, whether dkimpy accepts each DKIM signature of the message.
One JSON object a line is the answer.
"""

import base64
import email
import email.header
import email.policy
import json
import re
import sys


ENCODED_WORDS = re.compile(rb"=\?UTF-8\?[QB]\?[^?\s]*\?=(?:(?:\r\n)?[ \t]+=\?UTF-8\?[QB]\?[^?\s]*\?=)+")


def join_encoded_words(octets):
    """Python leaves the white space between the encoded words of a name, which RFC 2047 section 6.2 takes away."""

    def joined(match):
        text = str(email.header.make_header(email.header.decode_header(match[0].decode("ascii"))))
        return b"=?UTF-8?B?" + base64.b64encode(text.encode("utf-8")) + b"?="

    head, separator, body = octets.partition(b"\r\n\r\n")
    return ENCODED_WORDS.sub(joined, head) + separator + body


def addresses(field):
    return [[group.display_name, [[a.display_name, a.addr_spec] for a in group.addresses]] for group in field.groups]


def payload(part):
    if part.get_content_type().startswith("message/"):
        inner = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) else inner.encode()
    return part.get_payload(decode=True) or b""


def describe(part):
    return {
        "type": part.get_content_type(),
        "charset": part.get_content_charset(),
        "method": part.get_param("method"),
        "disposition": part.get_content_disposition(),
        "filename": part.get_filename(),
        "cid": part["content-id"],
        "content": base64.b64encode(payload(part)).decode("ascii"),
    }


def leaves(part):
    if part.is_multipart() and not part.get_content_type().startswith("message/"):
        for inner in part.iter_parts():
            yield from leaves(inner)
    else:
        yield part


def parse(octets):
    message = email.message_from_bytes(octets, policy=email.policy.default)
    joined = email.message_from_bytes(join_encoded_words(octets), policy=email.policy.default)
    return {
        "names": message.keys(),
        "fields": [[name, str(value)] for name, value in message.items()],
        "addresses": {
            name: addresses(joined[name])
            for name in ["from", "sender", "reply-to", "to", "cc", "bcc"]
            if name in message
        },
        "date": message["date"].datetime.timestamp(),
        "parts": [describe(part) for part in leaves(message)],
        "types": [part.get_content_type() for part in message.walk()],
        "defects": [type(defect).__name__ for part in message.walk() for defect in part.defects],
    }


def verify(octets, records):
    import dkim

    def lookup(name, timeout=5):
        return records[name.decode("ascii").rstrip(".")].encode("ascii")

    def good(index):
        try:
            return dkim.DKIM(octets).verify(idx=index, dnsfunc=lookup)
        except dkim.DKIMException:
            return False

    count = sum(1 for name, _ in dkim.DKIM(octets).headers if name.lower() == b"dkim-signature")
    return {"verdicts": [good(index) for index in range(count)]}


def answer(request):
    octets = base64.b64decode(request["message"])
    try:
        if "records" in request:
            return verify(octets, request["records"])
        return parse(octets)
    except Exception as error:
        return {"error": repr(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
