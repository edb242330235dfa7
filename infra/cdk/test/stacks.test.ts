/** What no other check sees: how the parts of a yard fit together. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { ofType, resourcesOf, stacksOf, yardOf, type Resource } from './support';

const ENVIRONMENTS = ['dev', 'staging', 'prod', 'local'];
/** Names that do not say what yard they are of: they belong to something that does. */
const NAMELESS = new Set([
  'AWS::ApiGatewayV2::Integration', 'AWS::ApiGatewayV2::Route', 'AWS::ApiGatewayV2::Stage', 'AWS::EC2::InternetGateway', 'AWS::EC2::Route',
  'AWS::EC2::RouteTable', 'AWS::EC2::Subnet', 'AWS::EC2::SubnetRouteTableAssociation', 'AWS::EC2::VPC', 'AWS::EC2::VPCEndpoint',
  'AWS::EC2::VPCGatewayAttachment', 'AWS::KMS::Key', 'AWS::Lambda::EventInvokeConfig', 'AWS::Lambda::EventSourceMapping',
  'AWS::Lambda::Permission', 'AWS::S3::BucketPolicy', 'AWS::SNS::TopicPolicy', 'AWS::SQS::QueuePolicy',
]);

for (const environment of ENVIRONMENTS) {
  describe(environment, () => {
    const resources = resourcesOf(environment);
    const { parameters } = yardOf(environment);
    const queues = ofType(resources, 'AWS::SQS::Queue');
    const named = (arn: string): Resource => queues.find(({ properties }) => properties.QueueName === arn.split(':').at(-1))!;

    test('cdk-nag finds nothing', () => {
      for (const stack of stacksOf(environment)) {
        const found = [Annotations.fromStack(stack).findError('*', Match.anyValue()), Annotations.fromStack(stack).findWarning('*', Match.anyValue())].flat();
        assert.deepEqual(found.map(({ id, entry }) => `${id}: ${entry.data}`), []);
      }
    });

    test('every name carries the name of the yard', () => {
      for (const { id, type, properties } of resources.filter((resource) => !NAMELESS.has(resource.type))) {
        const names = Object.entries(properties).filter(([key]) => /Name$/.test(key)).map(([, name]) => String(name));
        assert.ok(names.some((name) => new RegExp(`[-/]${parameters.yard}(?![a-z0-9])`).test(name)), `${id} (${type}): ${names}`);
      }
    });

    test('FIFO queues have FIFO dead letters and high throughput', () => {
      for (const { properties } of queues.filter((queue) => queue.properties.FifoQueue)) {
        assert.match(properties.QueueName, /\.fifo$/);
        assert.deepEqual([properties.DeduplicationScope, properties.FifoThroughputLimit], ['messageGroup', 'perMessageGroupId']);
      }
      for (const { properties } of queues.filter((queue) => queue.properties.RedrivePolicy)) {
        const [id] = properties.RedrivePolicy.deadLetterTargetArn.split('.');
        const dead = queues.find((queue) => queue.id === id)!;
        assert.equal(dead.properties.FifoQueue, properties.FifoQueue, properties.QueueName);
      }
    });

    test('every queue is encrypted, and refuses what is not', () => {
      const policies = ofType(resources, 'AWS::SQS::QueuePolicy');
      for (const { id, properties } of queues) {
        const key = properties.SqsManagedSseEnabled ? undefined : `alias/proofyard-${parameters.yard}`;
        assert.equal(properties.KmsMasterKeyId, key);
        const policy = policies.find((candidate) => candidate.properties.Queues.includes(id))!;
        const [deny] = policy.properties.PolicyDocument.Statement;
        assert.deepEqual([deny.Effect, deny.Condition], ['Deny', { Bool: { 'aws:SecureTransport': 'false' } }]);
      }
    });

    test('what AWS writes to a FIFO queue has a group, and the queue tells repeats by their content', () => {
      const targets = ofType(resources, 'AWS::Events::Rule').flatMap((rule) => rule.properties.Targets);
      for (const target of targets.filter(({ Arn: arn }) => arn.endsWith('.fifo'))) {
        assert.ok(target.SqsParameters.MessageGroupId);
        assert.equal(named(target.Arn).properties.ContentBasedDeduplication, true);
      }
      targets.forEach((target) => assert.equal(named(target.DeadLetterConfig.Arn).properties.FifoQueue, undefined, 'EventBridge takes standard queues alone for these'));
    });

    test('a function has a sixth of the time for which its messages are hidden', () => {
      const functions = ofType(resources, 'AWS::Lambda::Function');
      const mappings = ofType(resources, 'AWS::Lambda::EventSourceMapping');
      assert.equal(mappings.length, parameters.proposer === undefined ? 5 : 6);
      for (const { properties } of mappings) {
        const timeout = functions.find(({ id }) => id === properties.FunctionName)!.properties.Timeout;
        assert.ok(named(properties.EventSourceArn).properties.VisibilityTimeout >= 6 * timeout);
        assert.deepEqual(properties.FunctionResponseTypes, ['ReportBatchItemFailures']);
        assert.ok(properties.BatchSize <= 10);
        assert.equal([properties.ScalingConfig, properties.ProvisionedPollerConfig].filter(Boolean).length, 1, 'they exclude each other');
      }
    });

    test('pools come from nothing, on spot machines first, and a reclaimed machine is no failure', () => {
      const environments = ofType(resources, 'AWS::Batch::ComputeEnvironment');
      const jobQueues = ofType(resources, 'AWS::Batch::JobQueue');
      assert.equal(jobQueues.length, Object.keys(parameters.pools).length);
      for (const { properties } of jobQueues) {
        const order = properties.ComputeEnvironmentOrder.map((entry: any) => environments.find(({ id }) => entry.ComputeEnvironment.startsWith(`${id}.`))!);
        assert.deepEqual(order.map(({ properties: { ComputeResources: made } }: Resource) => [made.Type, made.AllocationStrategy, made.MinvCpus]), [
          ['SPOT', 'SPOT_CAPACITY_OPTIMIZED', 0],
          ['EC2', 'BEST_FIT_PROGRESSIVE', 0],
        ]);
        assert.ok(properties.SchedulingPolicyArn);
        assert.ok(properties.JobStateTimeLimitActions.every((action: any) => action.State === 'RUNNABLE' && action.Action === 'CANCEL'));
      }
      for (const { properties } of ofType(resources, 'AWS::Batch::JobDefinition')) {
        assert.deepEqual(properties.RetryStrategy.EvaluateOnExit[0], { Action: 'RETRY', OnStatusReason: 'Host EC2*' });
        assert.ok(properties.Timeout.AttemptDurationSeconds > 0);
        const gpus = properties.ContainerProperties.ResourceRequirements.find((needs: any) => needs.Type === 'GPU');
        assert.equal(gpus !== undefined, properties.JobDefinitionName.includes('-gpu'), properties.JobDefinitionName);
      }
    });

    test('machines take the second version of the metadata service alone, and their disks are encrypted', () => {
      for (const { properties } of ofType(resources, 'AWS::EC2::LaunchTemplate')) {
        const data = properties.LaunchTemplateData;
        assert.equal(data.MetadataOptions.HttpTokens, 'required');
        assert.ok(data.BlockDeviceMappings.every((device: any) => device.Ebs.Encrypted));
        assert.match(data.UserData['Fn::Base64'], /mkfs\.xfs/);
      }
      for (const { properties } of ofType(resources, 'AWS::EC2::SecurityGroup')) {
        assert.equal(properties.SecurityGroupIngress, undefined);
      }
    });

    test('logs end some day', () => {
      ofType(resources, 'AWS::Logs::LogGroup').forEach(({ properties }) => assert.equal(properties.RetentionInDays, parameters.log_retention_days));
    });

    test('all that pages does so by one alarm, but a halt, which is told also while that one pages', () => {
      const [composite] = ofType(resources, 'AWS::CloudWatch::CompositeAlarm');
      const [page] = ofType(resources, 'AWS::SNS::Topic').filter(({ properties }) => properties.TopicName.endsWith('-page'));
      const alone = ofType(resources, 'AWS::CloudWatch::Alarm').filter(({ properties }) => properties.AlarmActions[0] === page.id);
      assert.deepEqual(alone.map(({ properties }) => properties.AlarmName), [`proofyard-${parameters.yard}-halted`]);
      for (const alarm of ['block-waits', 'ingest-errors', 'ingest-unavailable', 'lag-seconds', 'silent']) {
        assert.ok(composite.properties.AlarmRule.includes(`"proofyard-${parameters.yard}-${alarm}"`), alarm);
      }
      const alarms = ofType(resources, 'AWS::CloudWatch::Alarm');
      const silent = alarms.filter(({ properties }) => properties.AlarmActions.length === 0).map(({ properties }) => properties.AlarmName);
      assert.ok(silent.length >= 6);
      assert.equal(composite.properties.AlarmRule, silent.map((name) => `ALARM("${name}")`).join(' OR '));
      const threshold = (alarm: string) => alarms.find(({ properties }) => properties.AlarmName.endsWith(`-${alarm}`))!.properties.Threshold;
      assert.equal(threshold('lag-seconds'), parameters.alarm_thresholds['lag-seconds'] ?? 600);
      assert.equal(threshold('silent'), 1);
    });
  });
}
