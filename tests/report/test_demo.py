# SPDX-License-Identifier: Apache-2.0
"""The runner of the demo, with scenarios that need no guest: what it writes of a run, however that ends."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import types
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')


def load_runner():
    path = os.path.realpath(os.path.join(ROOT, 'tests/e2e/demo'))
    spec = importlib.util.spec_from_loader('runner', importlib.machinery.SourceFileLoader('runner', path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load_runner()
GuestError = sys.modules['guest'].GuestError


class Stage:
    """Stands for a node."""

    def __init__(self, dmesg=(), boot=None, end=None):
        self.node_name, self.accel = 'a-node', 'none'
        self.complaints, self.boot_error, self.end_error = list(dmesg), boot, end
        self.collected = []

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        if self.end_error:
            raise self.end_error

    def boot(self):
        if self.boot_error:
            raise self.boot_error

    def mark_dmesg(self):
        pass

    def dmesg_findings(self):
        return self.complaints

    def collect(self, name):
        self.collected.append(name)

    def read(self, path):
        return json.dumps({'pairs': [
            {'gaudi': 'g0', 'nic': {'pci': '0000:05:00.0', 'rdma': 'rxe0'}}, {'gaudi': 'g1', 'nic': {'pci': '0000:06:00.0', 'rdma': 'rxe1'}},
            {'gaudi': 'g2', 'nic': None}]}).encode()

    def sh(self, cmd):
        below = '/sys/devices/pci0000:00/0000:00:10.0/'
        return {'g0': below + '0000:01:00.0/0000:02:00.0/0000:04:00.0\n' + below + '0000:01:00.0/0000:02:01.0/0000:05:00.0\n',
                'g1': below + '0000:01:00.0/0000:02:02.0/0000:07:00.0\n' + '/sys/devices/pci0000:00/0000:00:11.0/0000:06:00.0\n',
                'g2': below + '0000:04:00.0\n'}[cmd.split('by-id/')[1][:2]]

    def run(self, cmd):
        return (1, 'no such file') if 'gaudi_p2p' in cmd else (0, 'some version\n')


def prove_one(stage):
    """The first"""
    sys.modules['story'].held(stage, 'g0', 'a-pod')
    return '12 MiB/s'


def test_two(_stage):
    """The second"""


class Demo(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='gaudi-p2p-')
        self.addCleanup(shutil.rmtree, self.folder)
        runner.RESULTS, runner.EVIDENCE = self.folder, os.path.join(self.folder, 'demo')
        runner.story.entries.clear()
        runner.story.owners.clear()

    def play(self, stage, proofs, setup=lambda stage: None, browser=()):
        """Runs it; returns (exit status, what it printed, the record, demo.json)."""
        self.record, self.torn = None, []

        def check(path, record):
            self.assertTrue(os.path.exists(path))
            self.record = record
            return list(browser)
        runner.check = check
        scenario = types.SimpleNamespace(__doc__='A title.\n\nWhat it\nis about.\n\nMore.', STAGE='a node', PROOFS=proofs, setup=setup,
                                         stage=lambda results: stage, teardown=self.torn.append)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = runner.run(scenario)
        with open(os.path.join(self.folder, 'demo.html'), encoding='utf-8') as f:
            self.assertIn('A title', f.read())
        with open(os.path.join(self.folder, 'demo.json'), encoding='utf-8') as f:
            return status, out.getvalue(), self.record, json.load(f)

    def test_all_is_proven(self):
        stage = Stage()
        status, out, record, verdicts = self.play(stage, (prove_one, test_two))
        self.assertEqual(status, 0, out)
        self.assertIn('2 passed, 0 failed', out)
        self.assertIn('[12 MiB/s]', out)
        self.assertEqual([(r['name'], r['says'], r['status'], r['detail']) for r in record['proofs']],
                         [('prove-one', 'The first', 'pass', '12 MiB/s'), ('two', 'The second', 'pass', '')])
        self.assertEqual((record['title'], record['about'], record['trouble']), ('A title', 'What it is about.', ''))
        self.assertEqual([v['status'] for v in verdicts], ['pass', 'pass'])
        self.assertEqual(record['topology'], [{'name': 'a-node', 'pairs': [
            {'switch': '0000:01:00.0', 'gaudi': 'g0', 'nic': 'rxe0', 'pods': ['a-pod']},
            {'switch': '0000:01:00.0', 'gaudi': 'g1', 'nic': 'rxe1 at no switch', 'pods': []},
            {'switch': '', 'gaudi': 'g2', 'nic': '', 'pods': []}]}])
        self.assertIn(('gaudi_p2p', 'not known: no such file'), record['versions'])
        self.assertEqual((self.torn, stage.collected), ([stage], []))

    def test_a_proof_fails(self):
        def fails(_stage):
            """It fails"""
            raise AssertionError('B read <script>')
        stage = Stage()
        status, out, record, verdicts = self.play(stage, (prove_one, fails, test_two))
        self.assertEqual(status, 1)
        self.assertIn('1 passed, 2 failed', out)
        self.assertEqual([r['status'] for r in record['proofs']], ['pass', 'fail', 'untried'])
        self.assertEqual(record['proofs'][1]['detail'], 'B read <script>')
        self.assertEqual([v['status'] for v in verdicts], ['pass', 'fail', 'fail'])
        self.assertEqual([kind for _, _, kind in record['timeline'] if kind], ['pass', 'fail'])
        self.assertEqual((self.torn, stage.collected), ([stage], ['failed']))

    def test_a_fault_of_the_scenario_is_a_failed_proof(self):
        def faulty(_stage):
            """It is faulty"""
            return {}['no such key']
        status, _, record, _ = self.play(Stage(), (faulty,))
        self.assertEqual(status, 1)
        self.assertIn('KeyError', record['proofs'][0]['detail'])

    def test_a_kernel_that_complains_proves_nothing(self):
        stage = Stage()

        def complains(stage):
            """It makes the kernel complain"""
            stage.complaints.append('BUG: here')
        status, _, record, _ = self.play(stage, (complains, test_two))
        self.assertEqual(status, 1)
        self.assertIn('BUG: here', record['proofs'][0]['detail'])

    def test_a_run_that_ends_early_is_told(self):
        def refuses(_stage):
            raise GuestError('the kubelet knows no Gaudi')
        for stage, setup, reason in ((Stage(boot=GuestError('it does not boot')), lambda stage: None, 'it does not boot'),
                                     (Stage(), refuses, 'the kubelet knows no Gaudi'),
                                     (Stage(dmesg=['WARNING: at boot']), lambda stage: None, 'WARNING: at boot')):
            with self.subTest(reason):
                status, out, record, verdicts = self.play(stage, (prove_one, test_two), setup)
                self.assertEqual(status, 1)
                self.assertIn(reason, record['trouble'])
                self.assertIn(reason, out)
                self.assertEqual([r['status'] for r in record['proofs']], ['untried', 'untried'])
                self.assertEqual([v['status'] for v in verdicts], ['fail', 'fail'])

    def test_a_bad_end_is_no_success(self):
        status, _, record, _ = self.play(Stage(end=GuestError('it did not end')), (prove_one,))
        self.assertEqual(status, 1)
        self.assertEqual(record['proofs'][0]['status'], 'pass')
        self.assertIn('it did not end', record['trouble'])

    def test_a_report_that_a_browser_shows_otherwise_is_no_success(self):
        status, out, _, _ = self.play(Stage(), (prove_one,), browser=['400 px wide: too wide'])
        self.assertEqual(status, 1)
        self.assertIn('too wide', out)


class Witness(unittest.TestCase):
    def test_it_tells_of_each_pod_once_and_who_has_what(self):
        import demo_cluster
        story, wait = sys.modules['story'].story, sys.modules['guest'].wait
        story.entries.clear()
        story.owners.clear()

        def pod(name, phase):
            return {'metadata': {'name': name}, 'spec': {'nodeName': 'n1'}, 'status': {'phase': phase}}
        views = [[], [pod('a', 'Pending'), pod('b', 'Running')], GuestError('no answer'), [pod('a', 'Running'), pod('b', 'Succeeded')]]

        def get(*_args):
            view = views.pop(0) if len(views) > 1 else views[0]
            if isinstance(view, Exception):
                raise view
            return view
        node = types.SimpleNamespace(node_name='n1', devices_of=lambda name: {'a': ['g0'], 'b': []}[name])
        demo_cluster.Witness.SECONDS = 0.01
        witness = demo_cluster.Witness(types.SimpleNamespace(plane=types.SimpleNamespace(get=get), node={1: node}))
        try:
            wait(lambda: len(story.entries) >= 4, 10, 'what the witness says')
        finally:
            witness.end()
        self.assertEqual([text for _, text, _ in story.entries], [
            'pod b runs on n1', 'the witness sees nothing for now: no answer', 'pod a runs on n1 with Gaudi g0', 'pod b: Succeeded'])
        self.assertEqual(story.owners, {('n1', 'g0'): ['a']})
