# SPDX-License-Identifier: Apache-2.0
"""The written report of a demo: one HTML page that needs nothing else, no network and no script.

    page(record)    the page, as text; record is what tests/e2e/demo saw:

    title, about    of the scenario, in words
    began, seconds  when (text) and how long
    trouble         why the run as a whole went wrong; '' when it did not
    versions        [(of what, version)]
    topology        [{'name': of the node, 'pairs': [{'switch', 'gaudi', 'nic', 'pods'}]}]: 'switch' and 'nic' are '' where
                    there is none, 'pods' had the pair one after another
    timeline        [(seconds, text, kind)]: kind is 'pass', 'fail' or ''
    proofs          [{'name', 'says', 'status', 'seconds', 'detail'}]: status is 'pass', 'fail' or 'untried'; detail is
                    figures, or the reason
    evidence        folder that holds more

Pod names, figures and error texts come from outside. The page is built as a tree and never as text, so nothing of theirs
can become markup; clean() takes out what could still mislead a reader.
"""

import os
import re
import xml.etree.ElementTree as ET

WORDS = {'pass': 'proven', 'fail': 'failed', 'untried': 'not tried'}
MARKS = {'pass': '✓', 'fail': '✗', 'untried': '–'}
README = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../README.md')

# Control characters, such as those that colour a terminal; halves of characters; marks that turn the direction of text.
MISLEADING = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]')

# Nothing is loaded and nothing runs, whatever is in the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = '''
:root { color-scheme: light dark; --ink: #1b2430; --soft: #566272; --page: #ffffff; --sheet: #f4f6f9; --line: #c9d1db;
  --pass: #146c36; --pass-sheet: #e2f4e8; --fail: #a61b1b; --fail-sheet: #fdeaea; --gaudi: #dfe9fb; --gaudi-line: #3565b5;
  --nic: #fdeed6; --nic-line: #a2660a; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3afbe; --page: #14181e; --sheet: #1d232b;
  --line: #3b4552; --pass: #7ddc9c; --pass-sheet: #17301f; --fail: #ff9a94; --fail-sheet: #3a1c1c; --gaudi: #1d2f4d;
  --gaudi-line: #86aef0; --nic: #3d2f17; --nic-line: #e5b568; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; color: var(--ink); background: var(--page);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; color: var(--fail); }
p { margin: .4rem 0; } a { color: var(--gaudi-line); }
code, .reason, .name, svg .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
code, .reason, .name { font-size: .88em; }
.soft { color: var(--soft); }
.verdict { margin: 1rem 0; padding: .7rem 1rem; border-left: .35rem solid; background: var(--sheet); font-weight: 600; }
.verdict.pass { color: var(--pass); background: var(--pass-sheet); }
.verdict.fail { color: var(--fail); background: var(--fail-sheet); }
table { width: 100%; border-collapse: collapse; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem .45rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: .9rem; white-space: nowrap; }
tbody th { font-weight: 400; min-width: 7.5rem; }
td { min-width: 4.5rem; } td.result { min-width: 6rem; }
.name, .seconds { display: block; color: var(--soft); }
.seconds { font-size: .88em; }
.pass .mark { color: var(--pass); font-weight: 600; } .fail .mark { color: var(--fail); font-weight: 600; }
.mark { white-space: nowrap; } .untried .mark { color: var(--soft); font-weight: 600; }
.reason { margin: 0; padding: .7rem; white-space: pre-wrap; background: var(--sheet); border: 1px solid var(--line); }
figure { margin: 0 0 1rem; display: flex; flex-wrap: wrap; align-items: end; gap: 1rem; }
svg { flex: 0 1 auto; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 13px; } svg text.soft { fill: var(--soft); } svg text.mono { font-size: 12px; }
svg text.title { font-size: 15px; font-weight: 600; }
svg rect { fill: var(--page); stroke: var(--line); } svg .node { fill: var(--sheet); }
svg .gaudi { fill: var(--gaudi); stroke: var(--gaudi-line); } svg .nic { fill: var(--nic); stroke: var(--nic-line); }
svg .none { stroke-dasharray: 4 3; } svg line { stroke: var(--soft); stroke-width: 2; } svg line.wire { stroke: var(--nic-line); }
svg rect.fabric { fill: var(--nic); stroke: var(--nic-line); }
ol.timeline { list-style: none; margin: 0 0 0 6px; padding: 0; border-left: 2px solid var(--line); }
ol.timeline li { position: relative; padding: .15rem 0 .15rem 1rem; display: flex; gap: .8rem; }
ol.timeline li::before { content: ""; position: absolute; left: -6px; top: .65rem; width: 10px; height: 10px; border-radius: 50%;
  background: var(--line); }
ol.timeline li.pass::before { background: var(--pass); } ol.timeline li.fail::before { background: var(--fail); }
ol.timeline li.pass { color: var(--pass); } ol.timeline li.fail { color: var(--fail); }
ol.timeline .at { flex: 0 0 3.6rem; text-align: right; color: var(--soft); font-variant-numeric: tabular-nums; }
ol.timeline .what { flex: 1 1 auto; min-width: 0; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: fit-content(14rem) minmax(0, 1fr); gap: .2rem 1rem; margin: 0; } dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@media print { body { font-size: 10pt; max-width: none; padding: 0; } tr, li, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .verdict, svg, li::before { print-color-adjust: exact; } }
'''


def clean(text):
    """Text of a stranger: whole, but without what a reader cannot see and a page must not have."""
    return MISLEADING.sub('\ufffd', str(text))


def add(parent, tag, text=None, **attributes):
    """A new element below parent; returns it. A name of an attribute that Python keeps for itself ends with _."""
    child = ET.SubElement(parent, tag, {k.rstrip('_').replace('_', '-'): clean(v) for k, v in attributes.items()})
    if text is not None:
        child.text = clean(text)
    return child


def add_prose(parent, tag, text):
    """add() of words of ours, with what is between backticks as code."""
    child = add(parent, tag)
    child.text, *rest = (clean(part) for part in re.split('`([^`]*)`', text))
    for code, after in zip(rest[::2], rest[1::2]):
        add(child, 'code', code).tail = after


# --- the picture -------------------------------------------------------------
SWITCH, GAP, EDGE, LINE = 240, 14, 14, 18
PAIR = 46           # height of the boxes of a Gaudi and its NIC


def shorten(text, most=26):
    text = clean(text)
    return text if len(text) <= most else text[:most - 1] + '…'


def by_switch(node):
    """[(switch, its pairs)] in their order; '' is for what is at no switch."""
    found = {}
    for pair in node['pairs']:
        found.setdefault(pair['switch'], []).append(pair)
    return list(found.items())


def label(svg, x, y, text, class_=''):
    add(svg, 'text', text, x=x, y=y, class_=class_)


def draw_pair(svg, x, y, pair, bottom):
    """A Gaudi, its NIC, who had them; the NIC's wire goes to the fabric at `bottom`. Returns where the next one goes."""
    middle = y + PAIR // 2
    if pair['nic']:
        add(svg, 'line', x1=x + 112, y1=middle, x2=x + 128, y2=middle)
        # At the edge, so that the names of pods have room.
        add(svg, 'line', class_='wire', x1=x + 218, y1=y + PAIR, x2=x + 218, y2=bottom)
    for left, class_, word, name in ((x + 8, 'gaudi', 'Gaudi', pair['gaudi']), (x + 128, 'nic', 'NIC', pair['nic'])):
        box = add(svg, 'g', class_='box')
        add(box, 'rect', class_=class_ if name else class_ + ' none', x=left, y=y, width=104, height=PAIR, rx=5)
        label(box, left + 8, y + 19, word)
        text = add(box, 'text', shorten(name or 'none', 12), x=left + 8, y=y + 37, class_='mono soft')
        add(text, 'title', name or 'none')
    y += PAIR + LINE
    for pod in pair['pods'] or ['no pod seen with it']:
        text = add(svg, 'text', shorten(pod), x=x + 8, y=y, class_='mono' if pair['pods'] else 'soft')
        add(text, 'title', pod)
        y += LINE
    return y + 4


def height_of(pairs):
    return sum(PAIR + LINE + 4 + LINE * max(1, len(pair['pods'])) for pair in pairs)


def draw_node(parent, node, number):
    """One node and what is in it, as a picture of its own, so that they stand side by side where there is room."""
    switches = by_switch(node)
    width = 2 * EDGE + len(switches) * SWITCH + max(0, len(switches) - 1) * GAP if switches else 2 * EDGE + SWITCH
    inner = max([height_of(pairs) for _, pairs in switches], default=0)
    bottom = 72 + inner + EDGE
    svg = add(parent, 'svg', role='img', viewBox='0 0 %d %d' % (width, bottom + 44), width=width, height=bottom + 44,
              aria_labelledby='node-%d-title node-%d-desc' % (number, number))
    add(svg, 'title', 'Topology of ' + node['name'], id='node-%d-title' % number)
    add(svg, 'desc', in_words(node), id='node-%d-desc' % number)
    add(svg, 'rect', class_='node', x=1, y=1, width=width - 2, height=bottom - 2, rx=8)
    label(svg, EDGE, 24, shorten(node['name']), 'title')
    add(svg, 'rect', class_='fabric', x=1, y=bottom + 14, width=width - 2, height=26, rx=4)
    label(svg, EDGE, bottom + 32, 'RDMA fabric')
    for i, (switch, pairs) in enumerate(switches):
        x = EDGE + i * (SWITCH + GAP)
        add(svg, 'rect', class_='switch', x=x, y=36, width=SWITCH, height=bottom - 36 - EDGE, rx=5)
        label(svg, x + 8, 56, 'switch ' + shorten(switch) if switch else 'no switch', 'soft')
        y = 66
        for pair in pairs:
            y = draw_pair(svg, x, y, pair, bottom + 14)


def in_words(node):
    return '; '.join('Gaudi %s with %s at %s, given to %s' % (
        p['gaudi'], 'NIC ' + p['nic'] if p['nic'] else 'no NIC', 'switch ' + p['switch'] if p['switch'] else 'no switch',
        ', then '.join(p['pods']) or 'no pod') for p in node['pairs']) or 'Nothing is known of its devices'


# --- the parts of the page ---------------------------------------------------
def table(parent, ident, caption, heads):
    """An empty table; returns its body."""
    whole = add(parent, 'table', id=ident)
    add(whole, 'caption', caption)
    row = add(add(whole, 'thead'), 'tr')
    for head in heads:
        add(row, 'th', head, scope='col')
    return add(whole, 'tbody')


def verdict(record):
    """(whether all is well, in words)"""
    count = {status: sum(p['status'] == status for p in record['proofs']) for status in WORDS}
    words = '%d of %d proven' % (count['pass'], len(record['proofs']))
    for status in ('fail', 'untried'):
        if count[status]:
            words += ', %d %s' % (count[status], WORDS[status])
    fine = count['pass'] == len(record['proofs']) > 0 and not record['trouble']
    return fine, words


def proofs(body, record):
    add(body, 'h2', 'What was proven')
    rows = table(body, 'proofs', 'In their order; each builds on those before it.', ('Proof', 'Result', 'Figures'))
    for proof in record['proofs']:
        row = add(rows, 'tr', class_=proof['status'])
        head = add(row, 'th', scope='row')
        add(head, 'span', proof['says'], class_='says')
        add(head, 'span', proof['name'], class_='name')
        result = add(row, 'td', class_='result')
        add(result, 'span', '%s %s' % (MARKS[proof['status']], WORDS[proof['status']]), class_='mark')
        if proof['status'] != 'untried':
            add(result, 'span', '%.1f s' % proof['seconds'], class_='seconds')
        figures = add(row, 'td', proof['detail'] if proof['status'] == 'pass' else '', class_='figures')
        if proof['status'] == 'fail':
            add(figures, 'a', 'the reason', href='#failed-' + proof['name'])
    failed = [p for p in record['proofs'] if p['status'] == 'fail']
    if not failed and not record['trouble']:
        return
    add(body, 'h2', 'What failed')
    for proof in failed:
        add(body, 'h3', proof['name'], id='failed-' + proof['name'])
        add(body, 'div', proof['detail'], class_='reason')
    if record['trouble']:
        add(body, 'h3', 'The run as a whole')
        add(body, 'div', record['trouble'], class_='reason')
    add(body, 'p', 'Logs are in %s.' % record['evidence'])


def topology(body, record):
    add(body, 'h2', 'Topology')
    if not record['topology']:
        add(body, 'p', 'Not known: the run ended before it could be looked at.')
        return
    figure = add(body, 'figure')
    for number, node in enumerate(record['topology']):
        draw_node(figure, node, number)
    rows = table(body, 'topology', 'Which pod had which pair', ('Gaudi', 'NIC', 'Pods, in turn'))
    for node in record['topology']:
        for pair in node['pairs']:
            row = add(rows, 'tr')
            head = add(row, 'th', scope='row')
            add(head, 'span', pair['gaudi'])
            add(head, 'span', '%s, %s' % (node['name'], 'switch ' + pair['switch'] if pair['switch'] else 'no switch'), class_='name')
            add(row, 'td', pair['nic'] or 'none')
            add(row, 'td', ', '.join(pair['pods']) or 'none seen')


def timeline(body, record):
    add(body, 'h2', 'Timeline')
    entries = add(body, 'ol', class_='timeline')
    for seconds, text, kind in record['timeline']:
        item = add(entries, 'li', class_=kind)
        add(item, 'span', '%d s' % seconds, class_='at')
        add(item, 'span', text, class_='what')


def never_tried(text):
    """[paragraph] of the README's section of that name, one for each of its points."""
    section = re.search(r'^## What was never tried\n(.*?)^## ', text, re.M | re.S)
    if not section:
        raise ValueError('README.md has no section "What was never tried"')
    return [' '.join(part.split()) for part in re.split(r'\n\n|^- ', section.group(1), flags=re.M) if part.strip()]


def never(body):
    with open(README, encoding='utf-8') as f:
        first, *points = never_tried(f.read())
    add(body, 'h2', 'What was never tried')
    add(body, 'p', first)
    entries = add(body, 'ul')
    for point in points:
        add_prose(entries, 'li', point)
    add(body, 'p', 'Figures and times above are those of emulated processors: they say that something happened, and nothing of how '
                   'fast it is on hardware.')


def page(record):
    """The report, as text of a file in UTF-8."""
    html = ET.Element('html', lang='en')
    head = add(html, 'head')
    add(head, 'meta', charset='utf-8')
    add(head, 'meta', http_equiv='Content-Security-Policy', content=POLICY)
    add(head, 'meta', name='viewport', content='width=device-width, initial-scale=1')
    fine, words = verdict(record)
    add(head, 'title', '%s: %s' % (record['title'], words))
    add(head, 'style').text = STYLE
    body = add(add(html, 'body'), 'main')
    add(body, 'h1', record['title'])
    add_prose(body, 'p', record['about'])
    add(body, 'p', '%s, %d s' % (record['began'], record['seconds']), class_='soft')
    add(body, 'p', '%s %s' % (MARKS['pass' if fine else 'fail'], words if fine or not record['trouble'] else words + '; the run went wrong'),
        class_='verdict ' + ('pass' if fine else 'fail'))
    proofs(body, record)
    topology(body, record)
    timeline(body, record)
    never(body)
    add(body, 'h2', 'Versions')
    pairs = add(body, 'dl')
    for what, version in record['versions']:
        add(pairs, 'dt', what)
        add(pairs, 'dd', version)
    return '<!DOCTYPE html>\n' + ET.tostring(html, encoding='unicode', method='html') + '\n'
