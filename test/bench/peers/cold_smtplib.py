"""The start of a script with Python's smtplib, as cold.ts does it: arguments are the port and the message's file."""

import sys
import time

begin = time.perf_counter()
import smtplib

loaded = time.perf_counter() - begin

import json
import resource

port, template = sys.argv[1:]
with open(template, "rb") as file:
    content = file.read()
with smtplib.SMTP("127.0.0.1", int(port), local_hostname="client.test") as smtp:
    smtp.sendmail("sender@client.test", ["recipient@sink.test"], content)
usage = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status", encoding="ascii") as status:
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
print(json.dumps({"loaded": loaded, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak}))
