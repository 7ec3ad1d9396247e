# SPDX-License-Identifier: Apache-2.0
"""The report of a demo, made of what a demo could have seen."""

import copy
import html.parser
import os
import unittest

import browser
import report

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../build/results/report')
ATTACK = '</style></title>"\'><script>attack()</script><img src=x onerror=attack()><svg onload=attack()>&lt;b&gt;'

WHOLE = {
    'title': 'Two pods, two Gaudis, one RDMA write',
    'about': 'Two pods, each with one Gaudi and its NIC, made from the manifests in deploy/.',
    'began': '2026-11-27 08:15 UTC', 'seconds': 312.4, 'trouble': '', 'evidence': 'build/results/demo/',
    'versions': [('Linux', '7.3.4+deb13-amd64'), ('kubelet', 'Kubernetes v1.37.0'), ('gaudi_p2p', '0.1.0')],
    'topology': [
        {'name': 'gaudi-node-%d' % n,
         'pairs': [{'switch': '0000:0%d:00.0' % (2 + 4 * i), 'gaudi': '0000:0%d:00.0' % (4 + 4 * i), 'nic': 'rxe%d' % i,
                    'pods': ['ring-allreduce-%d-x7k2p' % (2 * n + i - 2), 'ring-allreduce-%d-lq9vd' % (2 * n + i - 2)]}
                   for i in range(2)]} for n in (1, 2)],
    'timeline': [(0, 'booting a node with two Gaudis and two RDMA NICs', ''), (61, 'the node is up: kubelet, containerd', ''),
                 (98, 'proven: isolation', 'pass'), (131, 'proven: p2p-copy', 'pass')],
    'proofs': [
        {'name': 'isolation', 'says': "Each pod sees exactly its own Gaudi and NIC; opening the other's fails", 'status': 'pass',
         'seconds': 3.4, 'detail': ''},
        {'name': 'p2p-copy', 'says': "64 MiB from A's device memory into B's by RDMA write", 'status': 'pass', 'seconds': 12.9,
         'detail': '14.2 MiB/s'}],
}


def changed(**fields):
    return dict(copy.deepcopy(WHOLE), **fields)


def broken():
    """A run whose second proof failed, and badly: long words, many lines, colours of a terminal."""
    record = changed(timeline=WHOLE['timeline'][:3] + [(140, 'FAILED: p2p-copy: ' + 'x' * 300, 'fail')])
    record['proofs'][1].update(status='fail', detail='demo.py:257: pod %s said:\n%s\n\x1b[31mred\x1b[0m\x00\r\n%s' % (
        'a-pod-with-a-name-of-63-characters-which-is-the-most-it-may-have', 'y' * 500, '\n'.join('line %d' % i for i in range(80))))
    record['proofs'].append({'name': 'returned', 'says': 'All is as before', 'status': 'untried', 'seconds': 0, 'detail': ''})
    record['topology'][0]['pairs'][0]['pods'] = ['a-pod-with-a-name-of-63-characters-which-is-the-most-it-may-have']
    record['topology'][1]['pairs'][1].update(nic='', switch='', pods=[])
    return record


def attacked(value):
    """The record with an attack in every text of it."""
    if isinstance(value, dict):
        return {k: v if k in ('name', 'status') and 'status' in value else attacked(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [attacked(v) for v in value]
    return value + ATTACK if isinstance(value, str) and value not in ('', 'pass', 'fail') else value


class Elements(html.parser.HTMLParser):
    """What a parser makes of a page: the elements, the attributes, the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ''
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


class Page(unittest.TestCase):
    def test_nothing_from_outside_becomes_markup(self):
        plain, attack = Elements(report.page(broken())), Elements(report.page(attacked(broken())))
        self.assertEqual(attack.tags, plain.tags)
        self.assertEqual(attack.attributes, plain.attributes)
        self.assertNotIn('script', attack.tags)
        self.assertFalse({name for name in attack.attributes if name.startswith('on')})
        # All of them are there to read, pod names and error texts too.
        self.assertGreater(attack.text.count('<script>attack()</script>'), 20)

    def test_what_a_reader_cannot_see_is_marked(self):
        record = changed(title='a\x1b[31m\u202eb\ud800\x00c')
        page = report.page(record)
        self.assertIn('a\ufffd[31m\ufffdb\ufffd\ufffdc', page)
        page.encode()
        self.assertEqual(report.clean('tab\tand\nline, é, 漢, 🙂'), 'tab\tand\nline, é, 漢, 🙂')

    def test_the_verdict_is_bad_unless_all_was_proven_and_the_run_ended_well(self):
        self.assertEqual(report.verdict(WHOLE), (True, '2 of 2 proven'))
        self.assertEqual(report.verdict(broken()), (False, '1 of 3 proven, 1 failed, 1 not tried'))
        self.assertFalse(report.verdict(changed(trouble='the node panicked at its end'))[0])
        self.assertFalse(report.verdict(changed(proofs=[]))[0])

    def test_nothing_is_asked_of_a_network(self):
        page = report.page(broken())
        for word in ('http:', 'https:', 'url(', '@import', 'src='):
            self.assertNotIn(word, page)

    def test_the_readme_says_what_was_never_tried(self):
        text = 'a\n## What was never tried\nNo card\nhere:\n\n- one `x`\n  goes on\n- two\n\n## Next\n- three\n'
        self.assertEqual(report.never_tried(text), ['No card here:', 'one `x` goes on', 'two'])
        with self.assertRaises(ValueError):
            report.never_tried('# README\n')
        self.assertIn('Nothing here has run on silicon', Elements(report.page(WHOLE)).text)


class InChromium(unittest.TestCase):
    def check(self, name, record, change=None):
        """What the browser finds, in every view; in one of a page that was changed."""
        os.makedirs(RESULTS, exist_ok=True)
        path = os.path.join(RESULTS, name)
        page = report.page(record)
        with open(path + '.html', 'w', encoding='utf-8') as f:
            f.write(change(page) if change else page)
        if change:
            return browser.check(path + '.html', record, ['400-light'])
        return browser.check(path + '.html', record, pictures=path)

    def test_a_run_that_proved_all(self):
        self.assertEqual(self.check('whole', WHOLE), [])

    def test_a_run_that_failed(self):
        self.assertEqual(self.check('broken', broken()), [])

    def test_a_run_that_ended_before_its_first_proof(self):
        record = changed(trouble='guest node ended: its kernel panicked', topology=[], versions=[], timeline=[])
        for proof in record['proofs']:
            proof.update(status='untried', seconds=0, detail='')
        self.assertEqual(self.check('ended', record), [])

    def test_a_node_with_eight_gaudis(self):
        node = {'name': 'big', 'pairs': [{'switch': '0000:%02x:00.0' % (16 * (i // 4)), 'gaudi': '0000:%02x:00.0' % (i + 64),
                                          'nic': 'mlx5_%d' % i, 'pods': ['one-pod']} for i in range(8)]}
        self.assertEqual(self.check('eight', changed(topology=[node])), [])

    def test_attacks_are_text(self):
        self.assertEqual(self.check('attacked', attacked(broken())), [])

    def test_what_is_wrong_is_found(self):
        script = lambda text: lambda page: page.replace('default-src', 'img-src').replace('</main>', text + '</main>')
        for name, change, finding in (
                ('row', lambda page: page.replace('<span class="name">p2p-copy</span>', ''), 'the table of proofs'),
                ('status', lambda page: page.replace('✓ proven', '✗ failed', 1), 'the table of proofs'),
                ('verdict', lambda page: page.replace('2 of 2 proven</p>', '1 of 2 proven</p>'), 'the verdict'),
                ('pods', lambda page: page.replace('<td>ring-allreduce-0-x7k2p, ', '<td>'), 'pods: it shows'),
                ('timeline', lambda page: page.replace('proven: isolation', 'proven'), 'timeline: it shows'),
                ('wide', lambda page: page.replace('</main>', '<div style="width:1300px">x</div></main>'), 'wider than the window'),
                ('flat', lambda page: page.replace('viewBox=', 'style="height:0" viewBox='), 'a picture is'),
                ('outside', lambda page: page.replace('width="104"', 'width="80"'), 'outside of its box or picture'),
                ('nameless', lambda page: page.replace('<title id="node-0-title">', '<title id="node-0-title"></title><title>'), 'no title'),
                ('pale', lambda page: page.replace('--soft: #566272', '--soft: #b0b8c0'), 'hard to read'),
                ('bare', lambda page: page.replace('scope="row"', '', 1), 'have no scope'),
                ('heading', lambda page: page.replace('<h2>', '<h4>', 1).replace('</h2>', '</h4>', 1), 'order of headings'),
                ('script', script('<script>0</script>'), 'does not belong there'),
                ('console', script('<script>console.error("x")</script>'), 'Runtime.consoleAPICalled'),
                ('thrown', script('<script>throw 1</script>'), 'Runtime.exceptionThrown'),
                ('handler', lambda page: page.replace('<main>', '<main onclick="x()">'), 'that runs something'),
                ('remote', lambda page: page.replace("default-src 'none'", 'img-src *').replace(
                    '</main>', '<img alt="" src="http://192.0.2.1/x.png"></main>'), 'it asked for http://192.0.2.1/'),
        ):
            with self.subTest(name):
                found = self.check('wrong', WHOLE, change)
                self.assertTrue(any(finding in text for text in found), '%s: %s' % (name, found))
