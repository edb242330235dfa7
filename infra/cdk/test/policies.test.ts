/**
 * Who may do what, read from the final templates. Anything broader than one named thing of this yard must be in the list
 * of exceptions below, with its reason; an exception that nobody needs any more fails too.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSpec, type Statement as Written } from '../src/spec';
import { Yard } from '../src/yard';
import { ofType, resourcesOf, yardOf, type Resource } from './support';

interface Exception {
  /** Which actions, on what. */
  readonly actions: RegExp;
  readonly resource: RegExp;
  readonly because: string;
}

const ACCOUNT = '111122223333';
const EXCEPTIONS: Exception[] = [
  { actions: /^batch:(DescribeJobs|ListJobs)$/, resource: /^\*$/, because: 'AWS narrows it to no queue.' },
  { actions: /^ec2:Describe(InstanceTypes|SpotPriceHistory)$/, resource: /^\*$/, because: 'What EC2 offers anybody; AWS narrows it to nothing.' },
  { actions: /^ecr:GetAuthorizationToken$/, resource: /^\*$/, because: 'AWS narrows it to no registry.' },
  {
    actions: /^ecs:(DeregisterContainerInstance|DiscoverPollEndpoint|Poll|RegisterContainerInstance|StartTelemetrySession|Submit\w+|UpdateContainerInstancesState)$/,
    resource: /^\*$/,
    because: 'AWS Batch makes the cluster under a name of its own; these are what a machine of a cluster must be able to say.',
  },
  { actions: /^batch:SubmitJob$/, resource: /:job-definition\/[a-z0-9-]+:\*$/, because: 'The revisions of one job definition.' },
  { actions: /^logs:(CreateLogStream|PutLogEvents)$/, resource: /:log-group:[\w/-]+:\*$/, because: 'The streams of one log group.' },
  { actions: /^s3:(AbortMultipartUpload|GetObject|PutObject)$/, resource: /^arn:aws:s3:::[a-z0-9-]+\/(artifacts|made|sinks)\/\*$/, because: 'The objects of one folder, which are named by what is in them.' },
  { actions: /^secretsmanager:GetSecretValue$/, resource: /:secret:proofyard\/[a-z0-9-]+\/(webhook|nodes|sinks)-\*$/, because: 'AWS ends the ARN of a secret in six letters of its own.' },
];

interface Statement {
  readonly Effect: string;
  readonly Action: string[];
  readonly Resource: string[];
  readonly Condition?: { 'ForAllValues:StringLike'?: { 'dynamodb:LeadingKeys'?: string[] } };
}

const list = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

function statements(role: Resource): Statement[] {
  return role.properties.Policies.flatMap((policy: any) =>
    list(policy.PolicyDocument.Statement).map((statement: any) => ({ ...statement, Action: list(statement.Action), Resource: list(statement.Resource) })),
  );
}

function isNarrow(resource: string, yard: string): boolean {
  const ours = new RegExp(`^arn:aws:(?:(?:dynamodb|sqs|batch|lambda|logs):us-east-1:${ACCOUNT}|s3::):.*proofyard[-/]${yard}(?![a-z0-9]).*$`);
  const image = new RegExp(`^arn:aws:ecr:us-east-1:${ACCOUNT}:repository/[a-z0-9/-]+$`);
  return !resource.includes('*') && (ours.test(resource) || image.test(resource));
}

/** Names of yards that begin as another one's do are no other one's. */
test('no statement is broader than one named thing of this yard, but for the exceptions', () => {
  const used = new Set<Exception>();
  for (const environment of ['dev', 'staging', 'prod']) {
    const { yard } = yardOf(environment).parameters;
    for (const role of ofType(resourcesOf(environment), 'AWS::IAM::Role')) {
      assert.equal(role.properties.ManagedPolicyArns, undefined, `${role.id} has a policy of AWS's own`);
      for (const statement of statements(role)) {
        assert.equal(statement.Effect, 'Allow');
        for (const action of statement.Action) {
          assert.doesNotMatch(action, /\*/, `${role.id}: ${action}`);
          for (const resource of statement.Resource.filter((candidate) => !isNarrow(candidate, yard))) {
            const exception = EXCEPTIONS.find(({ actions, resource: allowed }) => actions.test(action) && allowed.test(resource));
            assert.ok(exception, `${role.id}: ${action} on ${resource}`);
            assert.ok(resource === '*' || resource.includes(`${yard}`), `${role.id}: ${resource} is not of this yard`);
            used.add(exception);
          }
        }
      }
    }
  }
  assert.deepEqual(EXCEPTIONS.filter((exception) => !used.has(exception)), [], 'exceptions that nobody needs');
});

test('a role is one service\'s, of one function or one kind of worker', () => {
  for (const role of ofType(resourcesOf('prod'), 'AWS::IAM::Role')) {
    const [trust, ...more] = role.properties.AssumeRolePolicyDocument.Statement;
    assert.deepEqual([more.length, trust.Action], [0, 'sts:AssumeRole']);
    assert.match(trust.Principal.Service, /^(lambda|ecs-tasks|ec2)\.amazonaws\.com$/);
  }
  const functions = ofType(resourcesOf('prod'), 'AWS::Lambda::Function').map(({ properties }) => properties.Role);
  assert.equal(new Set(functions).size, functions.length);
});

test('workers that only record write what is theirs, and read what they need', () => {
  const workers = ofType(resourcesOf('prod'), 'AWS::IAM::Role').filter(({ id }) => id.startsWith('RoleWorkerThatRecords'));
  assert.equal(workers.length, 3);
  for (const worker of workers) {
    const table = statements(worker).filter(({ Action: actions }) => actions.some((action) => action.startsWith('dynamodb:')));
    const keys = (statement: Statement) => statement.Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys'];
    const written = ['T#*', 'M#*', 'R#*', 'W#*'];
    assert.deepEqual(
      table.map((statement) => [statement.Action, keys(statement)]),
      [
        [['dynamodb:DeleteItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'], written],
        [['dynamodb:BatchGetItem', 'dynamodb:ConditionCheckItem', 'dynamodb:GetItem', 'dynamodb:Query'], [...written, 'S#*', 'C#*', 'Y#format']],
      ],
    );
    assert.ok(table.every(({ Resource: resources }) => resources.every((resource) => resource.endsWith(':table/proofyard-prod'))), 'no index');
  }
});

test('the judge alone writes what it found, and nothing else; where there is one, nobody else who proves advances', () => {
  const roles = ofType(resourcesOf('prod'), 'AWS::IAM::Role');
  const writes = (role: Resource) =>
    statements(role).filter(({ Action: actions }) => actions.some((action) => /^dynamodb:(DeleteItem|PutItem|UpdateItem)$/.test(action)));
  const keys = (statement: Statement) => statement.Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys'] ?? ['V#*'];
  const judges = roles.filter((role) => writes(role).some((statement) => keys(statement).includes('V#*')));
  assert.deepEqual(judges.map(({ properties }) => properties.RoleName), ['proofyard-prod-worker-judge']);
  assert.deepEqual(writes(judges[0]).map((statement) => [statement.Action, keys(statement)]), [[['dynamodb:PutItem'], ['V#*']]]);
  const sends = statements(judges[0]).filter(({ Action: actions }) => actions.includes('sqs:SendMessage'));
  assert.deepEqual(sends.flatMap(({ Resource: resources }) => resources), ['arn:aws:sqs:us-east-1:111122223333:proofyard-prod-results.fifo']);
  assert.ok(!roles.some(({ id }) => id.startsWith('RoleWorkerThatAdvances')));
});

test('the follower writes what blocks change, starts no worker, and wakes nobody but the collector', () => {
  const [follower] = ofType(resourcesOf('prod'), 'AWS::IAM::Role').filter(({ properties }) => properties.RoleName === 'proofyard-prod-follower');
  const written = statements(follower).filter(({ Action: actions }) => actions.includes('dynamodb:PutItem'));
  assert.deepEqual(
    written.map((statement) => statement.Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys']),
    [['C#*', 'H#*', 'K#*', 'O#*', 'S#*']],
  );
  const sends = statements(follower).filter(({ Action: actions }) => actions.includes('sqs:SendMessage'));
  assert.deepEqual(
    sends.flatMap(({ Resource: resources }) => resources).map((resource) => resource.split(':proofyard-prod-').at(-1)).sort(),
    ['follow', 'follow-dead', 'results.fifo', 'undelivered'],
  );
  assert.ok(!statements(follower).some(({ Action: actions }) => actions.some((action) => action.startsWith('batch:'))));
});

test('the notifier writes how far sinks are, and sends to itself and to what the parameters name alone', () => {
  const [notifier] = ofType(resourcesOf('prod'), 'AWS::IAM::Role').filter(({ properties }) => properties.RoleName === 'proofyard-prod-notifier');
  const written = statements(notifier).filter(({ Action: actions }) => actions.includes('dynamodb:PutItem'));
  assert.deepEqual(
    written.map((statement) => statement.Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys']),
    [['C#*', 'N#*']],
  );
  const sends = statements(notifier).filter(({ Action: actions }) => actions.includes('sqs:SendMessage'));
  assert.deepEqual(
    sends.flatMap(({ Resource: resources }) => resources).map((resource) => resource.split(':proofyard-prod-').at(-1)).sort(),
    ['notify-dead.fifo', 'notify.fifo'],
  );
  const bus = 'arn:aws:events:us-east-1:111122223333:event-bus/told';
  const queue = 'arn:aws:sqs:us-east-1:111122223333:told.fifo';
  const told = new Yard(readSpec(), { ...yardOf('prod').parameters, sink_targets: [bus, queue] }).roleOfFunction('notifier');
  assert.deepEqual(told.statements.slice(-2), [
    { actions: ['events:PutEvents'], resources: [bus] },
    { actions: ['sqs:SendMessage'], resources: [queue] },
  ]);
});

function sendsOf(statements: readonly Written[]): string[] {
  const sends = statements.filter(({ actions }) => actions.includes('sqs:SendMessage')).flatMap(({ resources }) => resources);
  return sends.map((resource) => resource.split(':proofyard-prod-').at(-1)!).sort();
}

/** What is put into the bucket, and where. */
function putsOf(statements: readonly Written[]): unknown[] {
  const puts = statements.filter(({ actions }) => actions.some((action) => /^s3:Put/.test(action)));
  return puts.map(({ actions, resources }) => [actions, resources.map((resource) => resource.split('/').slice(1))]);
}

test('the proposer alone reads keys and has keys sign, and is there only where it is asked for', () => {
  const key = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
  const without = new Yard(readSpec(), yardOf('prod').parameters);
  assert.ok(!('proposer' in without.spec.functions) && !('propose' in without.spec.queues));
  assert.ok(!without.alarms().some(({ name }) => name.includes('propose')));
  const yard = new Yard(readSpec(), { ...yardOf('prod').parameters, proposer: { kms_keys: [key] } });
  const { statements: its } = yard.roleOfFunction('proposer');
  assert.deepEqual(its.at(-1), { actions: ['kms:GetPublicKey', 'kms:Sign'], resources: [key] });
  const written = its.filter(({ actions }) => actions.includes('dynamodb:PutItem'));
  assert.deepEqual(written.map(({ leading_keys: keys }) => keys), [['A#*', 'C#*', 'N#*']]);
  assert.deepEqual(sendsOf(its), ['propose-dead.fifo', 'propose.fifo']);
  assert.deepEqual(putsOf(its), []);
  assert.ok(!its.some(({ actions }) => actions.some((action) => action.startsWith('batch:'))), 'it starts no worker');
  const secretsOf = (role: string) =>
    yard.roleOfFunction(role).statements.filter(({ actions }) => actions.includes('secretsmanager:GetSecretValue')).flatMap(({ resources }) => resources);
  assert.deepEqual(secretsOf('proposer').map((secret) => secret.split(':').at(-1)), ['proofyard/prod/keys-*']);
  assert.deepEqual(secretsOf('notifier').map((secret) => secret.split(':').at(-1)), ['proofyard/prod/sinks-*']);
  for (const { name, statements: others } of yard.roles().filter(({ function: of }) => of !== 'proposer')) {
    assert.ok(!others.some(({ actions, resources }) => actions.some((action) => action.startsWith('kms:')) || resources.some((resource) => resource.includes('/keys-'))), name);
    const journals = others.filter(({ actions, leading_keys: keys }) => actions.includes('dynamodb:PutItem') && (keys ?? ['A#*']).includes('A#*'));
    assert.deepEqual(journals, [], name);
  }
  const none = new Yard(readSpec(), { ...yardOf('prod').parameters, proposer: {} }).roleOfFunction('proposer');
  assert.ok(!none.statements.some(({ actions }) => actions.some((action) => action.startsWith('kms:'))));
});

test('a proposer writes tasks and artifacts only where it acts, and its queue says that it does', () => {
  const acting = new Yard(readSpec(), { ...yardOf('prod').parameters, proposer: { acts: true } }).roleOfFunction('proposer').statements;
  const written = acting.filter(({ actions }) => actions.includes('dynamodb:PutItem'));
  assert.deepEqual(written.map(({ leading_keys: keys }) => keys), [['A#*', 'C#*', 'N#*', 'T#*', 'M#*', 'R#*', 'W#*']]);
  assert.deepEqual(sendsOf(acting), ['propose-dead.fifo', 'propose.fifo', 'results.fifo']);
  assert.deepEqual(putsOf(acting), [[['s3:PutObject'], [['artifacts', '*']]]]);
  assert.ok(!acting.some(({ actions }) => actions.some((action) => action.startsWith('batch:'))), 'it starts no worker');
  const tagged = ofType(resourcesOf('local'), 'AWS::SQS::Queue').filter(({ properties }) => properties.Tags.some(({ Key }: any) => Key === 'proofyard:acts'));
  assert.deepEqual(tagged.map(({ properties }) => properties.QueueName), ['proofyard-name-of-the-yard-propose.fifo']);
});

test('who brings blocks may say so, and nobody who proves', () => {
  for (const environment of ['dev', 'prod']) {
    const posts = ofType(resourcesOf(environment), 'AWS::IAM::Role').filter((role) =>
      statements(role).some(({ Action: actions, Resource: resources }) => actions.includes('sqs:SendMessage') && resources.some((resource) => resource.endsWith('-blocks.fifo'))),
    );
    assert.deepEqual(posts.map(({ properties }) => properties.RoleName), [`proofyard-${environment}-ingest`]);
  }
});

test('what AWS itself may do is limited to this yard', () => {
  const resources = resourcesOf('prod');
  for (const { id, properties } of [...ofType(resources, 'AWS::SQS::QueuePolicy'), ...ofType(resources, 'AWS::SNS::TopicPolicy')]) {
    for (const statement of properties.PolicyDocument.Statement.filter((candidate: any) => candidate.Effect === 'Allow')) {
      assert.ok(statement.Principal.Service, id);
      const [[, source]] = Object.entries(Object.values(statement.Condition)[0] as Record<string, string | string[]>);
      assert.ok(list(source).every((value) => value === ACCOUNT || value.startsWith(`arn:aws:events:us-east-1:${ACCOUNT}:rule/proofyard-prod-`)), id);
    }
  }
  for (const { id, properties } of ofType(resources, 'AWS::Lambda::Permission')) {
    assert.ok(properties.SourceArn, id);
  }
});
