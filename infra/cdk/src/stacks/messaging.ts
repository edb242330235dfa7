/** The queues with their dead letters, and what AWS itself puts on them: the end of jobs, and spot machines taken back. */

import { Tags, type StackProps } from 'aws-cdk-lib';
import { CfnRule } from 'aws-cdk-lib/aws-events';
import { CfnQueue, CfnQueuePolicy } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { pascal, type Queue, type Yard } from '../yard';
import { onlyOverTls, YardStack } from './common';

/** For so long a queue uses one data key: fewer calls to the key, which cost. */
const DATA_KEY_REUSE_S = 3_600;

interface QueueShape {
  readonly name: string;
  readonly fifo: boolean;
  readonly contentBasedDeduplication: boolean;
  readonly retentionS: number;
  readonly visibilityS?: number;
  readonly deadLetters?: CfnQueue;
  /** Encrypted under the yard's key; else under one of SQS's own. */
  readonly ownKey: boolean;
}

export class MessagingStack extends YardStack {
  constructor(scope: Construct, yard: Yard, props: StackProps) {
    super(scope, yard, 'messaging', props, 'its queues, and what AWS tells it');
    yard.queues().forEach((queue) => this.makeQueue(queue));
    this.makeRules();
  }

  private makeQueue(queue: Queue): void {
    const { queue_defaults: defaults } = this.yard.spec;
    const id = pascal(queue.key) + pascal(queue.pool ?? '');
    // What could not be delivered for the key's sake must not need the key.
    const ownKey = queue.deadLetters !== undefined;
    const shape = { fifo: queue.fifo, contentBasedDeduplication: queue.contentBasedDeduplication, ownKey };
    const deadLetters =
      queue.deadLetters === undefined
        ? undefined
        : this.queue(`Dead${id}`, { ...shape, name: queue.deadLetters, retentionS: defaults.retention_s }, []);
    const rules = Object.values(this.yard.spec.events).filter((event) => event.queue === queue.key || queue.deadLetters === undefined);
    const made = this.queue(
      `Queue${id}`,
      { ...shape, name: queue.name, retentionS: queue.retentionS, visibilityS: queue.visibilityS, deadLetters },
      [
        ...rules.map((rule) => rule.name),
        // The schedule of a function has the function's name.
        ...(queue.deadLetters === undefined ? this.scheduled() : []),
      ],
    );
    if (queue.key === 'propose' && this.yard.parameters.proposer?.acts) {
      Tags.of(made).add(this.yard.spec.proposer.acts_tag, 'true');
    }
  }

  private scheduled(): string[] {
    const functions = Object.entries(this.yard.spec.functions).filter(([, { schedule }]) => schedule !== undefined);
    return functions.map(([name]) => this.yard.functionName(name));
  }

  private queue(id: string, shape: QueueShape, rules: readonly string[]): CfnQueue {
    const { queue_defaults: defaults, key } = this.yard.spec;
    const queue = new CfnQueue(this, id, {
      queueName: shape.name,
      messageRetentionPeriod: shape.retentionS,
      visibilityTimeout: shape.visibilityS,
      maximumMessageSize: defaults.max_message_bytes,
      ...(shape.ownKey
        ? { kmsMasterKeyId: key.alias, kmsDataKeyReusePeriodSeconds: DATA_KEY_REUSE_S }
        : { sqsManagedSseEnabled: true }),
      ...(shape.fifo
        ? {
            fifoQueue: true,
            contentBasedDeduplication: shape.contentBasedDeduplication,
            deduplicationScope: 'messageGroup',
            fifoThroughputLimit: 'perMessageGroupId',
          }
        : {}),
      ...(shape.deadLetters === undefined
        ? {}
        : { redrivePolicy: { deadLetterTargetArn: shape.deadLetters.attrArn, maxReceiveCount: defaults.receives_before_dead_letter } }),
    });
    const arn = this.yard.arn('sqs', shape.name);
    new CfnQueuePolicy(this, `${id}Policy`, {
      queues: [queue.ref],
      policyDocument: {
        Version: '2012-10-17',
        Statement: [
          onlyOverTls('sqs:*', arn),
          ...(rules.length === 0
            ? []
            : [
                {
                  Sid: 'WhatAwsTells',
                  Effect: 'Allow',
                  Principal: { Service: 'events.amazonaws.com' },
                  Action: 'sqs:SendMessage',
                  Resource: arn,
                  Condition: { ArnEquals: { 'aws:SourceArn': rules.map((rule) => this.yard.arn('events', `rule/${rule}`)) } },
                },
              ]),
        ],
      },
    });
    return queue;
  }

  private makeRules(): void {
    const undelivered = this.yard.arn('sqs', this.yard.queueNamed('undelivered').name);
    for (const [key, event] of Object.entries(this.yard.spec.events)) {
      new CfnRule(this, `Rule${pascal(key)}`, {
        name: event.name,
        eventPattern: event.pattern,
        state: 'ENABLED',
        targets: [
          {
            id: 'queue',
            arn: this.yard.arn('sqs', this.yard.queueNamed(event.queue).name),
            sqsParameters: { messageGroupId: event.group },
            deadLetterConfig: { arn: undelivered },
          },
        ],
      });
    }
  }
}
