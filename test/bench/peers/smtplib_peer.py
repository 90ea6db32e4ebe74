"""Python's smtplib as a peer: sendmail with octets, a thread for each connection. Arguments and answer as in job.ts."""

import argparse
import json
import resource
import smtplib
import ssl
import threading
import time

HOST = "127.0.0.1"
CLIENT_NAME = "client.test"
SENDER = "sender@client.test"


def read_job():
    parser = argparse.ArgumentParser()
    for name in ("port", "octets", "recipients", "connections", "warmUp", "messages"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("mode", "ca", "user", "password", "template"):
        parser.add_argument(f"--{name}", default="")
    for name in ("fresh", "streamed"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


JOB = read_job()
RECIPIENTS = [f"recipient{index or ''}@sink.test" for index in range(JOB.recipients)]
with open(JOB.template, "rb") as file:
    TEMPLATE = file.read()
BLOCK_OCTETS = min(JOB.octets, 65536)
CONTEXT = ssl.create_default_context(cafile=JOB.ca) if JOB.ca else None


def content(message):
    """The message of a number: each block has it in the octets 9 to 19."""
    octets = bytearray(TEMPLATE)
    digits = b"%010d" % message
    for begin in range(0, len(octets), BLOCK_OCTETS):
        octets[begin + 9 : begin + 19] = digits
    return bytes(octets)


def connect():
    smtp = smtplib.SMTP(HOST, JOB.port, local_hostname=CLIENT_NAME)
    if CONTEXT is not None:
        smtp.starttls(context=CONTEXT)
        smtp.login(JOB.user, JOB.password)
    return smtp


def send_fresh(first, count):
    for message in range(first, first + count):
        with connect() as smtp:
            smtp.sendmail(SENDER, RECIPIENTS, content(message))


def send_kept(connections, first, count):
    numbers = iter(range(first, first + count))
    lock = threading.Lock()

    def work(smtp):
        while True:
            with lock:
                message = next(numbers, None)
            if message is None:
                return
            smtp.sendmail(SENDER, RECIPIENTS, content(message))

    if len(connections) == 1:
        work(connections[0])
        return
    threads = [threading.Thread(target=work, args=(smtp,)) for smtp in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory():
    """Linux counts in ru_maxrss what the parent held; the status file does not."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    connections = [] if JOB.fresh else [connect() for _ in range(JOB.connections)]

    def send(first, count):
        if JOB.fresh:
            send_fresh(first, count)
        else:
            send_kept(connections, first, count)

    idle = peak_memory()
    send(0, JOB.warmUp)
    cpu = cpu_seconds()
    begin = time.perf_counter()
    send(JOB.warmUp, JOB.messages)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "cpu": cpu_seconds() - cpu, "peak": peak_memory(), "idle": idle}))
    for smtp in connections:
        smtp.quit()


main()
