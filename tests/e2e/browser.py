"""The page of /connections in a real browser: Chromium without a window, told by its own protocol what to do."""
import base64
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import time

from .harness import BINARY, Failure, after, case, configured, echo, expect, http, ok, service, until

PAGE = "http://127.0.0.1:4191/connections"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-crash-reporter", "--disable-breakpad",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--mute-audio",
         "--disable-features=Translate,OptimizationHints,MediaRouter", "--remote-debugging-pipe")
# Nothing is looked up, and nobody's name but this one exists.
NAMES = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
# The protocol's pipe is descriptors 3 and 4; whatever it starts ends with it.
ON_PIPES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", 'read=$1 write=$2; shift 2; exec "$@" 3<&$read 4>&$write', "chromium")


class Browser:
    """A Chromium in a host's network namespace, with one page."""

    def __init__(self, pod, host):
        ours, theirs = self._pipe(), self._pipe()
        home = os.path.join(pod.scratch, "chromium")
        os.makedirs(home)
        with open(f"{pod.scratch}/chromium.out", "ab") as out:
            self.process = host.popen(
                [*ON_PIPES, str(theirs[0]), str(ours[1]), "chromium", *FLAGS, NAMES, f"--user-data-dir={home}", "about:blank"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(theirs[0], ours[1]), start_new_session=True,
                env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home})
        os.close(theirs[0])
        os.close(ours[1])
        self.host, self.read, self.write = host, ours[0], theirs[1]
        self.rest, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Log.enable")

    @staticmethod
    def _pipe():
        """Descriptors that are in nobody's way when 3 and 4 are set."""
        ends = []
        for end in os.pipe():
            ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
            os.close(end)
        return ends

    def _message(self, deadline):
        while b"\0" not in self.rest:
            if not select.select([self.read], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failure("chromium does not answer")
            data = os.read(self.read, 1 << 16)
            if not data:
                raise Failure("chromium has ended")
            self.rest += data
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, within=20, **parameters):
        """A command's result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + within
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self.number:
                expect("error" not in answer, f"chromium: {method}: {answer.get('error')}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        """The value of an expression in the page; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        expect("exceptionDetails" not in result, f"{script}: {result.get('exceptionDetails')}")
        return result["result"].get("value")

    def go(self, url):
        """Opens it and waits until it is there."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        expect(not failed, f"{url}: {failed}")
        until(lambda: self.run("document.readyState") == "complete", f"{url} is not loaded", within=10, every=0.05)

    def look(self, width, dark):
        """The window's size, and what the user prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def complaints(self):
        """What stands in its console: errors of the script, what the content security policy forbade."""
        self.run("0")
        return [event["params"] for event in self.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]

    def picture(self, path):
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.read)
        os.close(self.write)
        until(lambda: not self._left(), lambda: f"chromium left {self._left()}", every=0.05)

    def _left(self):
        """What still runs in its process namespace."""
        return [pid for pid in self.host.pids() if self._is_nested(pid)]

    @staticmethod
    def _is_nested(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status") as file:
                return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in file)
        return False


@contextlib.contextmanager
def browser(pod, host=None):
    """A Browser beside the proxy, or elsewhere."""
    made = Browser(pod, host or pod.inside)
    try:
        yield made
    finally:
        made.close()


def start(pod, *arguments, **timeouts):
    """A proxy with connections in several stages: {name: peer}."""
    pod.app(http(lambda message: time.sleep(30) or ok()))
    pod.app(echo, port=8081)
    pod.app(port=8082)
    pod.start(*arguments, tcp_idle="10m", request="5m", idle_connection="7m", **timeouts)
    peers = {"waiting": pod.dial(8080), "opaque": pod.dial(8081), "idle": pod.dial(8082), "fresh": pod.dial(8082)}
    peers["waiting"].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    peers["opaque"].send(BINARY)
    peers["opaque"].exactly(len(BINARY))
    peers["idle"].ask()
    return peers


# The table as lists of texts, with what stands above it.
TABLE = """[...document.querySelectorAll("#rows tbody tr")].map(row => [...row.cells].map(cell => cell.innerText.trim()))"""
COLUMNS = """[...document.querySelectorAll("#rows th")].map(cell => cell.innerText.trim())"""


def rows(chromium):
    """What the table shows, as dictionaries."""
    names = chromium.run(COLUMNS)
    return [dict(zip(names, row)) for row in chromium.run(TABLE)]


def clients(chromium):
    return {row["client"] for row in rows(chromium)}


def name(peer):
    return "%s:%d" % peer.local


@case(weight=4, limit=120)
def table_in_a_browser(pod):
    """The table is there, the next deadline first; fields filter; it refreshes itself while what is typed stays; nothing complains."""
    peers = start(pod)
    with browser(pod) as chromium:
        chromium.go(PAGE + "?refresh=1")
        until(lambda: {row["timer"] for row in rows(chromium)} == {"request 5m", "tcpIdle 10m", "idleConnection 7m"},
              lambda: f"{rows(chromium)}", within=10)
        shown = rows(chromium)
        expect([row["client"] for row in shown[:2]] == [name(peers["waiting"]), name(peers["idle"])], f"the order: {shown}")
        expect(shown[0]["stage"] == "wait" and shown[0]["set by"] == "flag --timeout-request" and shown[0]["requests"] == "1", f"{shown[0]}")
        expect(chromium.run("document.querySelector('#counts').innerText") == "4 open", "the count")
        # It refreshes without being loaded anew.
        chromium.run("window.mark = 1; document.querySelector('input[name=client]').focus()")
        chromium.call("Input.insertText", text="10.77.1.1")
        late = pod.dial(8082)
        late.ask()
        until(lambda: name(late) in clients(chromium), "a new connection does not appear")
        peers["fresh"].close()
        until(lambda: name(peers["fresh"]) not in clients(chromium), "a closed connection stays")
        expect(chromium.run("document.title") == f"{os.uname().nodename}: 4 connections – lapse-proxy", "the title")
        expect(chromium.run("window.mark") == 1, "the page was loaded anew")
        expect(chromium.run("document.activeElement.value") == "10.77.1.1", "what was typed is lost")
        # The form, as a person uses it.
        chromium.run("document.querySelector('select[name=stage]').value = 'idle'")
        for kind in ("rawKeyDown", "char", "keyUp"):
            chromium.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
        until(lambda: "client=10.77.1.1" in chromium.run("location.search"), lambda: f"at {chromium.run('location.href')}", within=10)
        until(lambda: clients(chromium) == {name(peers["idle"]), name(late)}, lambda: f"filtered: {clients(chromium)}", within=10)
        expect("refresh=1" in chromium.run("location.search"), "what was chosen besides is lost")
        expect(chromium.run("document.querySelector('select[name=stage]').value") == "idle", "the form does not show the filter")
        late.close()
        until(lambda: clients(chromium) == {name(peers["idle"])}, "a filtered page does not refresh itself")
        chromium.go(PAGE + "?stage=tunnel")
        expect(rows(chromium) == [] and "No open connection is like that." in chromium.run("document.body.innerText"), "the empty page")
        expect(not chromium.complaints(), f"the console: {chromium.complaints()}")


KEYS = {"Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def press(chromium, key):
    for kind in ("rawKeyDown", "keyUp"):
        chromium.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])


# Where the focus is in the table: the connection's id and the column's name.
FOCUS = """(() => { const cell = document.activeElement.closest("#rows td");
    return cell && [cell.parentElement.id, cell.dataset.name, document.activeElement.tabIndex]; })()"""


@case(weight=4, limit=120)
def by_keyboard(pod):
    """A row is one tab stop, arrows lead to its other links and to other rows; a refresh takes the focus nowhere; landmarks are there."""
    peers = start(pod)
    with browser(pod) as chromium:
        chromium.go(PAGE + "?refresh=0&sort=age")
        expect(chromium.run("document.querySelectorAll('main').length") == 1, "no main landmark")
        expect(chromium.run("document.querySelector('main #rows') && document.querySelector('h1').innerText")
               == f"Connections of {os.uname().nodename}", "not of which pod")
        version = pod.proxy.admin("/version")[1].decode().strip()
        expect(version in chromium.run("document.body.innerText"), "no version")
        ids = chromium.run("[...document.querySelectorAll('#rows tbody tr')].map(row => row.id)")
        stops = chromium.run("[...document.querySelectorAll('#rows tbody tr')].map(row => row.querySelectorAll('a[href]:not([tabindex=\"-1\"])').length)")
        expect(stops == [1, 1, 1, 1], f"tab stops a row: {stops}")
        chromium.run("document.querySelector('form button').focus()")
        seen = []
        for key in ("Tab", "Tab", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "Tab"):
            press(chromium, key)
            seen.append(chromium.run(FOCUS))
        columns = ("id", "id", "direction", "client", "client", "client", "direction", "id", "id", "direction", "client")
        wanted = [[ids[row], column, 0] for row, column in zip((0, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2), columns)]
        expect(seen == wanted, f"{seen}, expected {wanted}")
        chromium.go(PAGE + "?refresh=1&sort=age")
        shown = [row["client"] for row in rows(chromium)]
        at = shown.index(name(peers["idle"]))
        ids = chromium.run("[...document.querySelectorAll('#rows tbody tr')].map(row => row.id)")
        chromium.run(f"document.querySelector('#{ids[at]} a').focus()")
        for _ in range(3):
            press(chromium, "ArrowRight")
        chromium.run(f"window.row = document.querySelector('#{ids[at]}')")
        until(lambda: not chromium.run("window.row.isConnected"), "it does not refresh", within=10)
        expect(chromium.run(FOCUS) == [ids[at], "server", 0], f"a refresh moved the focus to {chromium.run(FOCUS)}")
        stops = chromium.run(f"document.querySelectorAll('#{ids[at]} a[href]:not([tabindex=\"-1\"])').length")
        expect(stops == 1, f"after a refresh the row has {stops} tab stops")
        peers["idle"].close()
        until(lambda: not chromium.run(f"!!document.getElementById('{ids[at]}')"), "a closed connection stays", within=10)
        heir = (ids[:at] + ids[at + 1:])[min(at, 2)]
        expect(chromium.run(FOCUS) == [heir, "server", 0], f"its row has gone, and the focus to {chromium.run(FOCUS)}")
        expect(not chromium.complaints(), f"the console: {chromium.complaints()}")


@case(weight=4, limit=120)
def draining_is_told(pod):
    """While the proxy drains the page says so, by itself, and until when."""
    peers = start(pod, drain="1m")
    with browser(pod) as chromium:
        chromium.go(PAGE + "?refresh=1")
        expect(chromium.run("document.querySelector('#draining').checkVisibility()") is False, "it drains already")
        expect(pod.proxy.admin("/drain", "POST")[0] == 200, "POST /drain")
        until(lambda: chromium.run("document.querySelector('#draining').checkVisibility()"), "it does not say that it drains", within=10)
        said = chromium.run("document.querySelector('#draining').innerText")
        expect(said.startswith("Draining: ") and "1m" in said, said)
        expect(name(peers["waiting"]) in clients(chromium), f"{clients(chromium)}")
        if pictures := os.environ.get("PICTURES"):
            chromium.picture(f"{pictures}/draining.png")
    for peer in peers.values():
        peer.rst()
    pod.stop(signals=())


@case(weight=4, limit=120)
def proxy_goes_and_comes(pod):
    """The proxy has ended: the page says since when it does not answer and keeps what it had; a new one is shown by itself."""
    pod.app()
    pod.start()
    with browser(pod) as chromium:
        chromium.go(PAGE + "?refresh=1")
        expect("No connection is open." in chromium.run("document.body.innerText"), "the empty page")
        peer = pod.dial()
        peer.ask()
        until(lambda: name(peer) in clients(chromium), "the connection does not appear")
        banner = "document.querySelector('#lost').innerText"
        expect(chromium.run(banner) == "" and chromium.run("document.querySelector('#lost').hidden"), "lost too early")
        pod.stop()
        peer.close()
        until(lambda: "No answer from lapse-proxy since" in chromium.run(banner), "it does not say that nobody answers")
        expect(name(peer) in clients(chromium), "what it had is gone")
        pod.dials = 0
        pod.start()
        until(lambda: not rows(chromium) and chromium.run("document.querySelector('#lost').hidden"), "it does not recover")


CONTRAST = """(() => {
  const parse = text => { const [r, g, b, a] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a === undefined ? 1 : a]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = color => { const [r, g, b] = color.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                           return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = element => { const chain = []; for (let e = element; e; e = e.parentElement) chain.push(parse(getComputedStyle(e).backgroundColor));
                              return chain.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
  const found = [];
  const judge = (element, style, words) => {
    const below = ground(element), a = light(over(parse(style.color), below)), b = light(below);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), words]);
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility()) continue;
    const words = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join("");
    if (words || element.value) judge(element, getComputedStyle(element), words || element.value);
    if (element.placeholder) judge(element, getComputedStyle(element, "::placeholder"), element.placeholder);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()"""


# Words of the table that stand on two lines: what is between blanks, hyphens, slashes and places for a new line (wbr).
BROKEN = r"""(() => {
  const found = [], walker = document.createTreeWalker(document.querySelector("#rows"), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());)
    for (const word of node.data.matchAll(/[^\s\/-]+-?/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1)
        found.push(word[0]);
    }
  return found;
})()"""


@case(each={"1280 light": (1280, False), "1280 dark": (1280, True), "400 light": (400, False), "400 dark": (400, True)}, weight=4, limit=120)
def looks(pod, how):
    """Wide and narrow, light and dark: nothing sticks out or is cut off, every text stands out against its ground by 4.5 to 1."""
    width, dark = how
    long = "a-name-as-long-as-kubernetes-lets-one-be-which-is-63-characters"
    documents = configured(pod, service(long, pod.server.v4, "fd77:2::1", port=8080, namespace=long))
    pod.app(host=pod.server)
    pod.app(after(30))
    pod.start("--config", documents.path, "--timeout-idle-connection", "8s")
    peers = [pod.dial(8080, address=address, host=pod.inside) for address in (pod.server.v4, pod.server.v6)] + [pod.dial()]
    for peer in peers[:2]:
        peer.ask()
    peers[2].send(BINARY)
    with browser(pod) as chromium:
        chromium.look(width, dark)
        for page, count in ((PAGE + "?refresh=0", 3), (PAGE + "?refresh=0&stage=tunnel", 0)):
            chromium.go(page)
            expect(len(rows(chromium)) == count, f"{page}: {rows(chromium)}")
            expect(not count or any(row["Service"] == f"{long}/{long}" for row in rows(chromium)), "no long name")
            chromium.run("document.querySelector('#lost').hidden = false; document.querySelector('#lost').textContent = 'No answer'")
            have, want = chromium.run("[document.scrollingElement.scrollWidth, innerWidth]")
            expect(have <= want == width, f"{page} is {have} wide")
            cut = chromium.run("""[...document.querySelectorAll("#rows td, #rows th, p, button, label")]
                .filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth).map(each => each.innerText)""")
            expect(not cut, f"cut off: {cut}")
            broken = chromium.run(BROKEN) if width >= 1280 else []
            expect(not broken, f"broken within a word: {broken}")
            bare = chromium.run("""[...document.querySelectorAll("a")].filter(each => each.checkVisibility() &&
                !getComputedStyle(each).textDecorationLine.includes("underline")).map(each => each.innerText)""")
            expect(not bare, f"links that only their colour tells: {bare}")
            contrasts = chromium.run(CONTRAST)
            expect(len(contrasts) > 20 and contrasts[0][0] >= 4.5, f"the least contrasts: {contrasts[:5]}")
            if pictures := os.environ.get("PICTURES"):  # for a person to look at
                chromium.picture(f"{pictures}/{width}-{'dark' if dark else 'light'}-{count}.png")
        ground = chromium.run("getComputedStyle(document.body).backgroundColor")
        expect((ground == "rgb(255, 255, 255)") == (not dark), f"the ground is {ground}")


@case(weight=4, limit=120)
def without_scripts(pod):
    """A browser that runs no scripts shows the table and loads it anew by itself."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask()
    with browser(pod) as chromium:
        chromium.call("Emulation.setScriptExecutionDisabled", value=True)
        chromium.call("Page.navigate", url=PAGE + "?refresh=1")

        def shown():
            with contextlib.suppress(Failure):  # between two pages there is none to ask
                root = chromium.call("DOM.getDocument")["root"]["nodeId"]
                return chromium.call("DOM.getOuterHTML", nodeId=root)["outerHTML"]
            return ""
        until(lambda: name(peer) in shown(), "the connection is not there", within=10, every=0.1)
        late = pod.dial()
        late.ask()
        until(lambda: name(late) in shown(), "it does not refresh itself", within=10, every=0.1)
        loads = sum(event.get("method") == "Page.frameNavigated" for event in chromium.events)
        expect(loads >= 2, f"loaded {loads} times: scripts run")


@case(weight=4, limit=120)
def pages_from_elsewhere(pod):
    """A page of another host can neither drain the proxy nor read what it says; nor can one whose name has become 127.0.0.1."""
    pod.app(lambda peer: peer.request() and peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nevil"),
            port=9000, host=pod.inside)
    pod.start()
    post = """fetch("http://127.0.0.1:4191%s", {method: "POST", mode: "no-cors"}).then(answer => answer.type, error => "refused")"""
    with browser(pod) as chromium:
        chromium.go("http://evil.example:9000/")
        for path in ("/drain", "/connections/close?direction=inbound", "/log-level?level=off"):
            chromium.run(post % path)
        read = """fetch("http://127.0.0.1:4191/connections").then(answer => answer.text(), error => "refused")"""
        expect(chromium.run(read) == "refused", "another page reads what the proxy says")
        chromium.run("""(() => { const form = document.createElement("form"); form.method = "post"; form.action = "http://127.0.0.1:4191/drain";
            document.body.append(form); form.submit(); })()""")
        until(lambda: chromium.run("location.port") == "4191", "the form was not sent", within=10)
        expect("not done for pages" in chromium.run("document.body.innerText"), chromium.run("document.body.innerText"))
        chromium.go("http://evil.example:9000/")
        chromium.run("""document.body.append(Object.assign(document.createElement("iframe"), {src: "http://127.0.0.1:4191/connections"}))""")
        until(lambda: any("frame-ancestors" in json.dumps(each) for each in chromium.complaints()), "it lets itself be framed")
        # The same host and port as its own page, by a name that means 127.0.0.1 now.
        chromium.go("http://evil.example:4191/connections?refresh=0")
        expect("--admin-host" in chromium.run("document.body.innerText"), "a rebound name may read")
        for path, method, status in (("/config", "GET", 421), ("/metrics", "GET", 421), ("/drain", "POST", 403)):
            got = chromium.run(f"""fetch("{path}", {{method: "{method}"}}).then(answer => answer.status)""")
            expect(got == status, f"a rebound name: {method} {path} is answered by {got}")
    expect(pod.proxy.admin("/ready")[0] == 200 and pod.proxy.admin("/config")[0] == 200, "it drains")
    expect(not any("as POST" in line["msg"] for line in pod.proxy.lines), "a post was obeyed")
