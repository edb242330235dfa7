/** Rules of cdk-nag that do not fit, each with its reason. */

import type { Stack } from 'aws-cdk-lib';
import { NagSuppressions } from 'cdk-nag';
import type { Yard } from './yard';

const SKIPPED: { id: string; reason: string }[] = [
  { id: 'AwsSolutions-IAM5', reason: 'Every wildcard is in the list of test/policies.test.ts, with its reason; that test fails on any other.' },
  { id: 'AwsSolutions-APIG4', reason: 'A request is authenticated by its signature, which the function checks.' },
  { id: 'AwsSolutions-S1', reason: 'Who reads and writes the bucket are the roles of this yard; CloudTrail can log their calls.' },
  { id: 'AwsSolutions-SMG4', reason: 'Senders hold the one secret too, and whoever runs the nodes and the sinks the others, so that nobody can rotate it alone; a new one is taken up within a minute.' },
  { id: 'AwsSolutions-SQS3', reason: 'The queue is where others put what they could not deliver.' },
  { id: 'AwsSolutions-VPC7', reason: 'Nothing can come in; flow logs of what goes out to AWS would cost more than a yard at rest.' },
];

const SKIPPED_WITHOUT_KEPT_DATA = [{ id: 'AwsSolutions-DDB3', reason: 'This environment keeps no data: keep_data is false.' }];

export function skipped(stacks: readonly Stack[], yard: Yard): void {
  const rules = yard.parameters.keep_data ? SKIPPED : [...SKIPPED, ...SKIPPED_WITHOUT_KEPT_DATA];
  stacks.forEach((stack) => NagSuppressions.addStackSuppressions(stack, rules));
}
