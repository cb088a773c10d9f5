// What lctl prints, read and judged. The lines are as a Lustre 2.17 server prints them.
import fc from 'fast-check';
import t from 'tap';
import {
  coordinatorFindings,
  parseActions,
  parseAgents,
} from '../../../../daemon/cli/doctor/coordinator-findings.js';
import { findLctl, linesOf } from '../../../../daemon/cli/doctor/lctl.js';

const action = (archive: number, status: string): string =>
  `lrh=[type=10680000 len=136 idx=3/20] fid=[0x200001b71:0x408:0x0] dfid=[0x200001b72:0x4:0x0] compound/cookie=0x0/0x6b02a920 action=RESTORE archive#=${archive} flags=0x4 extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status=${status} data=[]`;
const agent = (ids: string): string => `uuid=c0ffee archive_id=${ids} requests=[current:1 ok:0 errors:0]`;

const WELL = {
  hsm_control: ['enabled'],
  'hsm.max_requests': ['300'],
  'hsm.agents': [agent('1,2')],
  'hsm.actions': [action(1, 'STARTED'), action(1, 'WAITING'), action(9, 'SUCCEED')],
};
const US = { fsname: 'lustre', archiveIds: [1] };

const codes = (changes: Partial<typeof WELL>, us = US): string[] =>
  coordinatorFindings({ ...WELL, ...changes }, us).map(({ code }) => code);

t.test('parameters of the file system alone', (t) => {
  const text =
    'mdt.lustre-MDT0000.hsm_control=enabled\nmdt.other-MDT0000.hsm_control=disabled\nmdt.lustre-MDT0001.hsm_control=shutdown\n';
  t.same(linesOf(text, 'lustre'), ['enabled', 'shutdown']);
  t.same(linesOf(text, 'none'), []);
  const many = `mdt.other-MDT0000.hsm.agents=\nuuid=x archive_id=ANY\nmdt.lustre-MDT0000.hsm.agents=\n${agent('1')}\n${agent('ANY')}\n`;
  t.same(linesOf(many, 'lustre'), [agent('1'), agent('ANY')]);
  t.end();
});

t.test('agents and actions', (t) => {
  t.same(parseAgents([agent('1,2'), agent('ANY'), 'nonsense']), [
    { uuid: 'c0ffee', archiveIds: [1, 2] },
    { uuid: 'c0ffee', archiveIds: [] },
  ]);
  t.same(
    [
      ...parseActions([
        action(1, 'WAITING'),
        action(1, 'STARTED'),
        action(2, 'FAILED'),
        action(3, 'WAITING'),
        '',
      ]),
    ],
    [
      [1, { waiting: 1, started: 1 }],
      [3, { waiting: 1, started: 0 }],
    ],
  );
  t.end();
});

t.test('what is wrong with it', (t) => {
  t.same(codes({}), []);
  t.same(codes({ hsm_control: ['disabled'] }), ['COORDINATOR_DISABLED']);
  t.same(codes({ hsm_control: ['enabled', 'shutdown'] }), ['COORDINATOR_SHUTDOWN']);
  t.same(codes({ hsm_control: ['stopping'] }), ['COORDINATOR_SHUTDOWN']);
  t.same(codes({ 'hsm.agents': [] }), ['AGENT_UNKNOWN']);
  t.same(codes({ 'hsm.agents': [agent('2')] }), ['AGENT_UNKNOWN']);
  t.same(codes({ 'hsm.agents': [agent('ANY')] }), []);
  t.same(codes({}, { ...US, archiveIds: [] }), ['AGENT_UNKNOWN'], 'we serve all, and it knows of two');
  t.same(codes({ 'hsm.actions': [action(300, 'WAITING')] }), ['ARCHIVE_UNSERVED']);
  t.same(codes({ 'hsm.actions': [action(300, 'WAITING')], 'hsm.agents': [agent('ANY')] }), []);
  t.same(codes({ 'hsm.max_requests': ['1'] }), ['MAX_REQUESTS']);
  t.same(codes({ 'hsm.max_requests': ['1'], 'hsm.actions': [action(1, 'STARTED')] }), [], 'nothing waits');
  t.end();
});

t.test('whatever lctl prints, nothing breaks', (t) => {
  const lines = fc.array(fc.oneof(fc.string(), fc.constant(action(1, 'WAITING')), fc.constant(agent('x,1'))));
  fc.assert(
    fc.property(lines, fc.string(), (some, name) => {
      const all = { hsm_control: some, 'hsm.max_requests': some, 'hsm.agents': some, 'hsm.actions': some };
      linesOf(some.join('\n'), name);
      coordinatorFindings(all, US);
    }),
  );
  t.end();
});

t.test('where lctl is', async (t) => {
  t.equal(await findLctl('/bin/sh', {}), '/bin/sh');
  t.equal(await findLctl(undefined, { LHSM_AZBLOB_LCTL: '/bin/sh' }), '/bin/sh');
  t.equal(await findLctl('/nowhere/lctl', { PATH: '/bin' }), undefined);
});
