"""curl's own tests: its client against its HTTP servers, which compare every byte of what they were sent."""
import os
import re
import select
import signal
import subprocess
import time

from suite import Suite

SILENCE = 40  # seconds without a word before a test counts as hung
CONFIGURE = ["--disable-shared", "--with-openssl", "--without-zstd", "--without-brotli", "--without-libidn2", "--without-librtmp",
             "--without-libssh2", "--without-nghttp2", "--disable-ldap", "--disable-manual", "--disable-dependency-tracking", "CFLAGS=-O1"]
DIRECTORIES = ["lib", "src", "tests/server", "tests/libtest"]


class Curl(Suite):
    def prepare(self, build):
        self.directory = os.path.join(build, "curl-source")
        subprocess.run([os.path.join(os.path.dirname(__file__), "fetch.sh"), "curl", self.directory], check=True)
        if not os.path.exists(os.path.join(self.directory, ".built")):
            self.build(os.path.join(build, "curl-build.log"))
        with open(os.path.join(self.directory, "include/curl/curlver.h"), encoding="utf-8") as file:
            self.source = f"curl {re.search('LIBCURL_VERSION .(.+?).$', file.read(), re.M)[1]}"
        data = os.path.join(self.directory, "tests/data")
        names = [name for name in os.listdir(data) if re.fullmatch(r"test\d+", name) and about_http(os.path.join(data, name))]
        self.tests = sorted((name[4:] for name in names), key=int)

    def build(self, log):
        with open(log, "wb") as out:
            def make(*command):
                if subprocess.run(["nice", "-n", "10", *command], cwd=self.directory, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False).returncode:
                    raise RuntimeError(f"curl could not be built; what was said is in {log}")
            make("./configure", *CONFIGURE)
            for directory in DIRECTORIES:
                make("make", "-j2", "-C", directory)
        with open(os.path.join(self.directory, ".built"), "wb"):
            pass

    def run(self, world, tests, alone=False):
        found, left = {}, list(tests)
        while left:
            said, hung = self.some(world, left)
            for number, state, text in parse(said):
                found.setdefault(number, (state, text))
            begun = re.findall(r"^test (\d+)\.\.\.", said, re.M)
            last = str(int(begun[-1])) if begun else left[0]
            if hung or last not in found:
                found[last] = ("fail", f"{said[-4000:]}\n--- hung\n" if hung else said[-4000:])
            done = left.index(last) + 1 if last in left else len(left)
            if not hung:
                done = len(left)
            left = left[done:]
        return {test: found.get(test, ("fail", "no result\n")) for test in tests}

    def some(self, world, tests):
        """(what runtests.pl said, whether it had to be killed)"""
        command = [*world.enter, "perl", "runtests.pl", "-n", "-a", "-p", *tests]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        said, hung, heard = b"", False, time.monotonic()
        with subprocess.Popen(command, cwd=os.path.join(self.directory, "tests"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True, env=environment) as process:
            while True:
                if select.select([process.stdout], [], [], 1)[0]:
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    said, heard = said + data, time.monotonic()
                    if not data:
                        break
                elif process.poll() is not None:
                    break
                elif time.monotonic() - heard > SILENCE:
                    hung = True
                    os.killpg(process.pid, signal.SIGKILL)
                    world.clear()
                    break
        return said.decode("utf-8", "replace"), hung


def about_http(path):
    with open(path, encoding="latin-1") as file:
        keywords = file.read().partition("<keywords>")[2].partition("</keywords>")[0].split("\n")
    return "HTTP" in keywords and "unittest" not in keywords


def parse(said):
    """(number, state, text) of each test in what runtests.pl said."""
    for number, text in re.findall(r"^test (\d+)((?:\.\.\.| SKIPPED).*?)(?=^test \d+(?:\.\.\.| SKIPPED)|\Z)", said, re.M | re.S):
        if text.startswith(" SKIPPED"):
            yield str(int(number)), "skip", text
        elif re.search(r" OK \(\d", text):
            yield str(int(number)), "pass", text
        else:
            yield str(int(number)), "fail", text
