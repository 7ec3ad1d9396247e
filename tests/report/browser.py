# SPDX-License-Identifier: Apache-2.0
"""The report in headless Chromium: whether a browser shows what it should.

    for finding in check(path, record): ...     # what is wrong, in words

Chromium is steered by its DevTools protocol over a pair of descriptors, so no port is open and no driver program is
needed. It resolves no name and has no profile but an empty one of its own.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile

from report import MARKS, WORDS, clean, verdict

PROGRAM = 'chromium-headless-shell'
# A phone and a desk, by day and by night; paper is A4 at 96 dots an inch. {name: (width, dark, media)}
VIEWS = {'%d-%s' % (width, 'dark' if dark else 'light'): (width, dark, 'screen') for width in (400, 1280) for dark in (False, True)}
VIEWS['paper'] = 794, False, 'print'
SECONDS = 60

# What the page looks like to a reader. Runs in the page, which itself has no script.
LOOK = r'''(() => {
  const all = (where) => [...document.querySelectorAll(where)];
  const text = (element) => element ? element.textContent : null;
  const box = (element) => element.getBoundingClientRect();
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => colour.slice(0, 3).reduce((sum, value, i) => sum + [0.2126, 0.7152, 0.0722][i] * channel(value), 0);
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const sheet = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (element) => {
    const pair = [light(numbers(getComputedStyle(element).color)), light(sheet(element))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  };
  const spoken = all('main *').filter((e) => !e.closest('svg') && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return {
    title: document.title, lang: document.documentElement.lang, verdict: text(document.querySelector('.verdict')),
    rows: all('#proofs tbody tr').map((row) => ({
      name: text(row.querySelector('.name')), says: text(row.querySelector('.says')), mark: text(row.querySelector('.mark')),
      figures: text(row.querySelector('.figures')), height: box(row).height })),
    reasons: all('.reason').map(text),
    pods: all('#topology tbody tr').map((row) => text(row.lastElementChild)),
    timeline: all('.timeline .what').map(text),
    pictures: all('svg').map((svg) => ({ width: box(svg).width, height: box(svg).height, title: text(svg.querySelector(':scope > title')),
      desc: text(svg.querySelector(':scope > desc')), named: svg.getAttribute('role') === 'img' && svg.hasAttribute('aria-labelledby'),
      outside: [...svg.querySelectorAll('text')].filter((t) => {
        const frame = box(t.closest('.box') ? t.closest('.box').querySelector('rect') : svg);
        return box(t).right > frame.right + 1 || box(t).bottom > frame.bottom + 1;
      }).map(text) })),
    headings: all('h1, h2, h3, h4, h5, h6').map((h) => Number(h.tagName[1])),
    bare: all('th').filter((th) => !th.hasAttribute('scope')).length,
    active: all('script, iframe, object, embed, form, img, link, base, main style').map((e) => e.outerHTML.slice(0, 80)),
    handlers: all('*').filter((e) => [...e.attributes].some((a) => /^on/i.test(a.name) || /^\s*javascript:/i.test(a.value)))
      .map((e) => e.outerHTML.slice(0, 80)),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    beyond: all('main *').filter((e) => box(e).right > document.documentElement.clientWidth + 1).map((e) => e.tagName + ' ' + text(e).slice(0, 40)),
    pale: spoken.filter((e) => contrast(e) < 4.5).map((e) => contrast(e).toFixed(1) + ' ' + text(e).slice(0, 40)),
  };
})()'''


class BrowserError(Exception):
    """Chromium is missing, or does not do what it is told."""


class Browser:
    """One Chromium with one page; use it as a context manager."""

    def __init__(self):
        program = shutil.which(PROGRAM)
        if not program:
            raise BrowserError('%s is missing: run tests/lab/lab host' % PROGRAM)
        self._profile = tempfile.mkdtemp(prefix='gaudi-p2p-browser-')
        self._log = os.path.join(self._profile, 'log')
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(SECONDS)
        self._buffer, self._last, self._session = b'', 0, None
        self.events = []

        def ends():
            # It reads descriptor 3 and writes descriptor 4; ours may be one of them.
            end = os.dup(theirs.fileno())
            for number in (3, 4):
                if end != number:
                    os.dup2(end, number)
                else:
                    os.set_inheritable(end, True)
        with open(self._log, 'wb') as log, theirs:
            self._process = subprocess.Popen(
                [program, '--remote-debugging-pipe', '--user-data-dir=' + self._profile, '--disable-gpu', '--no-first-run',
                 '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
                 '--host-resolver-rules=MAP * ~NOTFOUND', '--no-proxy-server',
                 # Its sandbox refuses root, and a container may not let others have one.
                 *(['--no-sandbox'] if os.geteuid() == 0 else []), 'about:blank'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False, preexec_fn=ends)

    def __enter__(self):
        try:
            page = next(t for t in self.command('Target.getTargets')['targetInfos'] if t['type'] == 'page')
            self._session = self.command('Target.attachToTarget', targetId=page['targetId'], flatten=True)['sessionId']
            for domain in ('Page', 'Runtime', 'Log', 'Network'):
                self.command(domain + '.enable')
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        # So it ends its own processes first, and leaves none behind.
        self._session = None
        with contextlib.suppress(BrowserError, OSError):
            self.command('Browser.close')
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _next(self):
        """The next message; an event is kept too."""
        try:
            while b'\0' not in self._buffer:
                data = self._socket.recv(1 << 20)
                if not data:
                    raise ConnectionError('it ended')
                self._buffer += data
        except OSError as e:
            with open(self._log, encoding='utf-8', errors='replace') as f:
                raise BrowserError('%s does not answer (%s); it says:\n%s' % (PROGRAM, e, f.read()[-2000:])) from None
        message, self._buffer = self._buffer.split(b'\0', 1)
        message = json.loads(message)
        if 'method' in message:
            self.events.append(message)
        return message

    def command(self, method, **parameters):
        """One command of the DevTools protocol; returns its result."""
        self._last += 1
        message = {'id': self._last, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        self._socket.sendall(json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._last:
                if 'error' in answer:
                    raise BrowserError('%s: %s' % (method, answer['error'].get('message')))
                return answer['result']

    def open(self, path, width, dark=False, media='screen'):
        """Loads a file as a window of that width shows it, or paper; returns when it is there. Forgets earlier events."""
        self.command('Emulation.setDeviceMetricsOverride', width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.command('Emulation.setEmulatedMedia', media=media,
                     features=[{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.events = []
        answer = self.command('Page.navigate', url='file://' + os.path.abspath(path))
        if answer.get('errorText'):
            raise BrowserError('%s: %s' % (path, answer['errorText']))
        while not any(e['method'] == 'Page.loadEventFired' for e in self.events):
            self._next()

    def evaluate(self, expression):
        answer = self.command('Runtime.evaluate', expression=expression, returnByValue=True)
        if 'exceptionDetails' in answer:
            raise BrowserError('a script of the check failed: %s' % answer['exceptionDetails'])
        return answer['result'].get('value')

    def complaints(self):
        """What the page made Chromium say, or ask the network for, since it was opened."""
        self.evaluate('0')  # what it has to say by now came before this answer
        found = []
        for event in self.events:
            told = event.get('params', {})
            if event['method'] == 'Log.entryAdded':
                found.append('%s: %s' % (told['entry']['level'], told['entry']['text']))
            elif event['method'] in ('Runtime.exceptionThrown', 'Runtime.consoleAPICalled'):
                found.append('%s: %s' % (event['method'], json.dumps(told)[:200]))
            elif event['method'] == 'Network.requestWillBeSent' and not told['request']['url'].startswith('file:///'):
                found.append('it asked for ' + told['request']['url'])
        return found

    def picture(self, path):
        """The whole page as a PNG."""
        answer = self.command('Page.captureScreenshot', captureBeyondViewport=True)
        with open(path, 'wb') as f:
            f.write(base64.b64decode(answer['data']))

    def pdf(self):
        return base64.b64decode(self.command('Page.printToPDF', printBackground=True, paperWidth=8.27, paperHeight=11.69)['data'])


def content(seen, record):
    """What of the record the page does not show, or shows otherwise."""
    def figures(proof):
        return {'pass': clean(proof['detail']), 'fail': 'the reason', 'untried': ''}[proof['status']]
    wanted = [{'name': clean(p['name']), 'says': clean(p['says']), 'mark': '%s %s' % (MARKS[p['status']], WORDS[p['status']]),
               'figures': figures(p)} for p in record['proofs']]
    shown = [{k: v for k, v in row.items() if k != 'height'} for row in seen['rows']]
    found = []
    if shown != wanted:
        found.append('the table of proofs has %s and not %s' % (shown, wanted))
    found += ['the row of %s has no height' % row['name'] for row in seen['rows'] if row['height'] < 10]
    if not (seen['verdict'] or '').startswith('%s %s' % (MARKS['pass' if verdict(record)[0] else 'fail'], verdict(record)[1])):
        found.append('the verdict is "%s"' % seen['verdict'])
    for what, got, expected in (
            ('reasons', seen['reasons'], [p['detail'] for p in record['proofs'] if p['status'] == 'fail'] +
             ([record['trouble']] if record['trouble'] else [])),
            ('pods', seen['pods'], [', '.join(pair['pods']) or 'none seen' for node in record['topology'] for pair in node['pairs']]),
            ('timeline', seen['timeline'], [text for _, text, _ in record['timeline']])):
        if got != [clean(text) for text in expected]:
            found.append('%s: it shows %s and not %s' % (what, got, expected))
    return found


def form(seen, record):
    """What is wrong with the page whatever it shows."""
    found = []
    if len(seen['pictures']) != len(record['topology']):
        found.append('%d pictures for %d nodes' % (len(seen['pictures']), len(record['topology'])))
    for picture in seen['pictures']:
        if picture['width'] < 100 or picture['height'] < 100:
            found.append('a picture is %(width)d x %(height)d' % picture)
        if not (picture['named'] and picture['title'] and picture['desc']):
            found.append('a picture has no title, description or role')
        found += ['outside of its box or picture: ' + text for text in picture['outside']]
    headings = seen['headings']
    if headings.count(1) != 1 or headings[:1] != [1] or any(b > a + 1 for a, b in zip(headings, headings[1:])):
        found.append('the order of headings is %s' % headings)
    if seen['bare']:
        found.append('%d headers of tables have no scope' % seen['bare'])
    if not seen['lang'] or not seen['title']:
        found.append('the page has no language or no title')
    for what in ('active', 'handlers', 'beyond', 'pale'):
        found += ['%s: %s' % ({'active': 'markup that does not belong there', 'handlers': 'markup that runs something',
                               'beyond': 'beyond the right edge', 'pale': 'hard to read (contrast below 4.5)'}[what], item)
                  for item in seen[what][:5]]
    if seen['wide'] > 0:
        found.append('it is %d px wider than the window' % seen['wide'])
    return found


def check(path, record, views=tuple(VIEWS), pictures=None):
    """[what is wrong] with the report at path, made of record. With pictures, a folder and start of names, PNGs stay."""
    found = []
    with Browser() as browser:
        for view in views:
            browser.open(path, *VIEWS[view])
            seen = browser.evaluate(LOOK)
            found += ['%s: %s' % (view, text) for text in content(seen, record) + form(seen, record) + browser.complaints()]
            if pictures:
                browser.picture('%s-%s.png' % (pictures, view))
        if not browser.pdf().startswith(b'%PDF-'):
            found.append('it cannot be printed')
    return found
