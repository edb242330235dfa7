/** What is refused before anything is made: each mistake by its file, its place, and the way out. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BadSpec, checkPaged, readEnvironments, readSpec } from '../src/spec';
import { changed } from './support';

function refused(read: () => unknown, ...says: string[]): void {
  assert.throws(read, (error: unknown) => {
    assert.ok(error instanceof BadSpec, String(error));
    says.forEach((text) => assert.ok(error.message.includes(text), error.message));
    return true;
  });
}

const SPECS: [string, (spec: any) => void, ...string[]][] = [
  ['an unknown field at the top', (spec) => (spec.colour = 'red'), '/colour is no field'],
  ['an unknown field of a queue', (spec) => (spec.queues.blocks.colour = 'red'), '/queues/blocks/colour is no field'],
  ['a queue that no program knows', (spec) => (spec.queues.more = spec.queues.blocks), '/queues/more is no field'],
  ['a missing field', (spec) => delete spec.pools.gpu.memory_mb, '/pools/gpu', "'memory_mb'"],
  ['a machine type without a pool', (spec) => (spec.machines['g6.xlarge'] = { vcpus: 4, memory_mb: 16384, gpus: 1 }), '/machines/g6.xlarge is in no pool'],
  ['a pool of an unknown machine', (spec) => spec.pools.gpu.machines.push('p6.48xlarge'), '/pools/gpu/machines names p6.48xlarge'],
  ['a slot that fits no machine', (spec) => (spec.pools.gpu.gpus = 8), '/pools/gpu/gpus asks for 8; a g6e.12xlarge has 4'],
  ['a slot that takes all memory', (spec) => (spec.pools.gpu8.memory_mb = 2097152), '/pools/gpu8/memory_mb asks for 2097152'],
  ['visibility under the timeout', (spec) => (spec.queue_defaults.visibility_s = 4), '/queue_defaults/visibility_s is 4; it must be at least 30'],
  ['visibility under six timeouts', (spec) => (spec.function_defaults.timeout_s = 6), '/queue_defaults/visibility_s is 30; it must be at least 36'],
  ['visibility under six timeouts of one function', (spec) => (spec.functions.sweeper.timeout_s = 31), '/queues/ticks/visibility_s is 180; it must be at least 186, 6 times /functions/sweeper/timeout_s'],
  ['a wildcard for an action', (spec) => (spec.policies.state[0].actions = ['dynamodb:*']), '/policies/state/0/actions/0'],
  ['a policy that is nowhere', (spec) => spec.roles.ingest.policies.push('all'), '/roles/ingest/policies names all'],
  ['an alarm without a threshold', (spec) => delete spec.alarms.silent.below, '/alarms/silent'],
];

for (const [what, change, ...says] of SPECS) {
  test(`${what} is refused with its place`, () => refused(() => readSpec(changed('yard.json', change)), 'yard.json', ...says));
}

const ENVIRONMENTS: [string, (environments: any) => void, ...string[]][] = [
  ['two yards with one name', (all) => (all.staging.yard = 'dev'), '/staging/yard is dev, as that of /dev'],
  ['two yards with one name, of which one says where', (all) => Object.assign(all.staging, { yard: 'dev', account: '111122223333' }), '/staging/yard is dev, as that of /dev'],
  ['two yards with one name, of which the other says where', (all) => ((all.dev.account = '111122223333'), (all.staging.yard = 'dev')), '/staging/yard is dev, as that of /dev'],
  [
    'two yards with one name in one account',
    (all) => [all.dev, all.staging].forEach((environment) => Object.assign(environment, { yard: 'dev', account: '111122223333' })),
    '/staging/yard is dev, as that of /dev',
  ],
  ['a name that a bucket could not have', (all) => (all.dev.yard = 'My_Yard'), '/dev/yard must match pattern'],
  ['an unknown parameter', (all) => (all.dev.colour = 'red'), '/dev/colour is no field'],
  ['an unknown pool', (all) => (all.dev.pools.tpu = {}), '/dev/pools/tpu is no pool of yard.json; it has cpu, gpu, gpu8, judge'],
  ['more warm workers than workers', (all) => (all.dev.pools.cpu.warm_workers = 3), '/dev/pools/cpu/warm_workers is 3, more than max_workers, 2'],
  ['a judge that there is no pool for', (all) => (all.dev.judge = true), '/dev/judge is true, and /pools has no judge'],
  ['a threshold of no alarm', (all) => (all.dev.alarm_thresholds.lag = 1), '/dev/alarm_thresholds/lag is no alarm'],
  ['more zones than have addresses', (all) => (all.dev.zones = ['a', 'b', 'c', 'd'].map((zone) => `us-east-1${zone}`)), '/dev/zones names 4'],
  ['one zone alone', (all) => (all.dev.zones = ['us-east-1a']), '/dev/zones must NOT have fewer than 2'],
  ['pollers upside down', (all) => (all.dev.pollers = { min: 9, max: 2 }), '/dev/pollers/min is 9, more than max, 2'],
];

for (const [what, change, ...says] of ENVIRONMENTS) {
  test(`${what}: refused with the place`, () =>
    refused(() => readEnvironments(readSpec(), changed('environments.json', change)), 'environments.json', ...says));
}

test('production without anybody who is paged is refused', () => {
  const { prod, dev } = readEnvironments(readSpec());
  refused(() => checkPaged('prod', prod), '/prod/page_emails is empty');
  checkPaged('prod', { ...prod, page_emails: ['on-call@example.com'] });
  checkPaged('dev', dev);
});

test('one name in two accounts is two yards', () => {
  const file = changed('environments.json', (all) => {
    all.dev.account = '111122223333';
    Object.assign(all.staging, { yard: 'dev', account: '444455556666' });
  });
  assert.equal(readEnvironments(readSpec(), file).staging.yard, 'dev');
});
