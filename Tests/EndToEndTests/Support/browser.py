"""Operations on a real Chromium, over the DevTools protocol: pages, what they evaluate, and what is done to
them."""
import asyncio, itertools, json, os

from websockets.asyncio.client import connect

import programs

browsers = {}
START_SECONDS = 30


class Browser:
    """One Chromium and the connection to its debugger; replies are matched by their number."""

    def __init__(self, connection):
        self.connection = connection
        self.numbers = itertools.count(1)
        self.waiting = {}
        self.complaints = {}
        self.task = asyncio.create_task(self.receive())

    async def receive(self):
        async for text in self.connection:
            message = json.loads(text)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.complain(message, details.get("exception", {}).get("description", details["text"]))
            elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] == "error":
                arguments = message["params"]["args"]
                self.complain(message, " ".join(str(a.get("description", a.get("value"))) for a in arguments))

    def complain(self, message, text):
        self.complaints.setdefault(message["sessionId"], []).append(text)

    async def call(self, method, params={}, session=None):
        number = next(self.numbers)
        reply = self.waiting[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "method": method, "params": params}
        await self.connection.send(json.dumps(request | ({"sessionId": session} if session else {})))
        answer = await reply
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]


async def browser_start(executable, directory):
    """Starts Chromium without a window; its pid. `directory` is its profile."""
    # --no-sandbox: root, in a container or not, has no other way to run it.
    pid = await programs.spawn(
        [executable, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
         "--remote-debugging-port=0", f"--user-data-dir={directory}", "about:blank"], directory + ".log")
    address = os.path.join(directory, "DevToolsActivePort")
    async with asyncio.timeout(START_SECONDS):
        # The file comes into being before its second line is written.
        while not os.path.exists(address) or len(lines := open(address).read().split()) < 2:
            if (code := await programs.wait(pid, 0.02)) is not None:
                raise RuntimeError(f"{executable} ended with {code}")
        port, path = lines
        connection = await connect(f"ws://127.0.0.1:{port}{path}", max_size=None, ping_interval=None, proxy=None)
    browsers[pid] = Browser(connection)
    return pid


async def page_open(browser, url):
    """Opens a tab and waits until it has loaded: its target and its session."""
    control = browsers[browser]
    target = (await control.call("Target.createTarget", {"url": url}))["targetId"]
    attached = await control.call("Target.attachToTarget", {"targetId": target, "flatten": True})
    session = attached["sessionId"]
    await control.call("Runtime.enable", session=session)
    async with asyncio.timeout(START_SECONDS):
        # Until it goes to `url` the new tab is another page, and complete too.
        loaded = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        while not await holds(control, session, loaded):
            await asyncio.sleep(0.02)
    return {"target": target, "session": session}


async def holds(control, session, expression):
    """Whether an expression is true; not while one page makes room for the next, when nothing can be evaluated."""
    try:
        return await evaluate(control, session, expression)
    except RuntimeError:
        return False


async def page_evaluate(browser, session, expression):
    """The value of a JavaScript expression, awaited where it is a promise."""
    return await evaluate(browsers[browser], session, expression)


async def evaluate(control, session, expression):
    reply = await control.call(
        "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}, session)
    if "exceptionDetails" in reply:
        details = reply["exceptionDetails"]
        raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
    return reply["result"].get("value")


async def page_command(browser, session, method, params={}):
    """A command of the DevTools protocol, to a page."""
    await browsers[browser].call(method, params, session)


async def page_show(browser, target):
    """Brings a tab to the front; the one that was there is hidden."""
    await browsers[browser].call("Target.activateTarget", {"targetId": target})


async def page_close(browser, target):
    await browsers[browser].call("Target.closeTarget", {"targetId": target})


async def page_complaints(browser, session):
    """Uncaught exceptions, unhandled rejections and console errors of a page so far."""
    return browsers[browser].complaints.get(session, [])


OPERATIONS = {f.__name__: f for f in (
    browser_start, page_open, page_evaluate, page_command, page_show, page_close, page_complaints)}
