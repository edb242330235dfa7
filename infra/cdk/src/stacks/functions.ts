/** The functions, what brings each its events, and the webhook in front of the one that takes blocks. */

import type { StackProps } from 'aws-cdk-lib';
import { CfnApi, CfnIntegration, CfnRoute, CfnStage } from 'aws-cdk-lib/aws-apigatewayv2';
import { CfnRule } from 'aws-cdk-lib/aws-events';
import { CfnEventInvokeConfig, CfnEventSourceMapping, CfnFunction, CfnPermission } from 'aws-cdk-lib/aws-lambda';
import { CfnOutput } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { FunctionSpec } from '../spec';
import { pascal, type Yard } from '../yard';
import { YardStack } from './common';

/** Where a function's program is, in the stack that needs it. */
export type Code = (stack: FunctionsStack, binary: string) => CfnFunction.CodeProperty;

/** The next minute's schedule comes anyway. */
const SCHEDULE_AGE_S = 60;
const SCHEDULE_RETRIES = 1;

export class FunctionsStack extends YardStack {
  constructor(scope: Construct, yard: Yard, props: StackProps, private readonly code: Code) {
    super(scope, yard, 'functions', props, 'its functions');
    for (const [name, described] of Object.entries(yard.spec.functions)) {
      const made = this.makeFunction(name, described);
      if (described.queue !== undefined) {
        this.mapQueue(name, described, made);
      }
      if (described.schedule !== undefined) {
        this.schedule(name, described.schedule, made);
      }
      if (described.webhook) {
        this.makeWebhook(made);
      }
    }
  }

  private makeFunction(name: string, described: FunctionSpec): CfnFunction {
    const { function_defaults: defaults, webhook } = this.yard.spec;
    const logGroup = this.logGroup(this.yard.fill(defaults.log_group, { function: name }));
    const role = this.role(this.yard.roleOfFunction(name));
    const made = new CfnFunction(this, `Function${pascal(name)}`, {
      functionName: this.yard.functionName(name),
      runtime: defaults.runtime,
      architectures: [defaults.architecture],
      handler: 'bootstrap',
      code: this.code(this, described.binary),
      role: role.attrArn,
      timeout: described.timeout_s ?? defaults.timeout_s,
      memorySize: described.memory_mb ?? defaults.memory_mb,
      environment: {
        variables: {
          ...this.yard.environment(),
          RUST_LOG: 'info',
          ...(described.webhook ? { PROOFYARD_WEBHOOK_SECRET_ID: webhook.secret } : { PROOFYARD_POOLS: this.yard.poolsForFunctions() }),
        },
      },
      loggingConfig: { logGroup: logGroup.ref },
      // Those that take from a queue also write to it: what is left when an event's time is over. State says when that
      // ends, so Lambda need not stop it after some rounds.
      ...(described.queue === undefined ? {} : { recursiveLoop: 'Allow' }),
    });
    return made;
  }

  private mapQueue(name: string, described: FunctionSpec, made: CfnFunction): void {
    const queue = this.yard.queueNamed(described.queue!);
    const { pollers } = this.yard.parameters;
    // They exclude each other.
    const scaling =
      pollers !== undefined && queue.fifo
        ? { provisionedPollerConfig: { minimumPollers: pollers.min, maximumPollers: pollers.max } }
        : { scalingConfig: { maximumConcurrency: described.max_concurrency } };
    new CfnEventSourceMapping(this, `Mapping${pascal(name)}`, {
      eventSourceArn: this.yard.arn('sqs', queue.name),
      functionName: made.ref,
      batchSize: described.batch_size,
      functionResponseTypes: ['ReportBatchItemFailures'],
      ...scaling,
    });
  }

  private schedule(name: string, expression: string, made: CfnFunction): void {
    const undelivered = this.yard.arn('sqs', this.yard.queueNamed('undelivered').name);
    const rule = new CfnRule(this, `Schedule${pascal(name)}`, {
      name: this.yard.functionName(name),
      scheduleExpression: expression,
      state: 'ENABLED',
      targets: [
        {
          id: 'function',
          arn: made.attrArn,
          deadLetterConfig: { arn: undelivered },
          retryPolicy: { maximumEventAgeInSeconds: SCHEDULE_AGE_S, maximumRetryAttempts: SCHEDULE_RETRIES },
        },
      ],
    });
    new CfnPermission(this, `Schedule${pascal(name)}Permission`, {
      action: 'lambda:InvokeFunction',
      functionName: made.ref,
      principal: 'events.amazonaws.com',
      sourceArn: rule.attrArn,
    });
    new CfnEventInvokeConfig(this, `Schedule${pascal(name)}Failures`, {
      functionName: made.ref,
      qualifier: '$LATEST',
      maximumEventAgeInSeconds: SCHEDULE_AGE_S,
      maximumRetryAttempts: SCHEDULE_RETRIES,
      destinationConfig: { onFailure: { destination: undelivered } },
    });
  }

  private makeWebhook(made: CfnFunction): void {
    const { webhook } = this.yard.spec;
    const { requests_per_s: rate, burst } = this.yard.parameters.webhook;
    const api = new CfnApi(this, 'Webhook', { name: webhook.api, protocolType: 'HTTP' });
    const integration = new CfnIntegration(this, 'WebhookIntegration', {
      apiId: api.ref,
      integrationType: 'AWS_PROXY',
      integrationUri: made.attrArn,
      payloadFormatVersion: '2.0',
      timeoutInMillis: (this.yard.spec.function_defaults.timeout_s + 1) * 1_000,
    });
    // Its own signature authenticates a request.
    new CfnRoute(this, 'WebhookRoute', {
      apiId: api.ref,
      routeKey: webhook.route,
      authorizationType: 'NONE',
      target: `integrations/${integration.ref}`,
    });
    const log = this.logGroup(`/proofyard/${this.yard.parameters.yard}/webhook`);
    new CfnStage(this, 'WebhookStage', {
      apiId: api.ref,
      stageName: '$default',
      autoDeploy: true,
      defaultRouteSettings: { throttlingRateLimit: rate, throttlingBurstLimit: burst },
      accessLogSettings: {
        destinationArn: log.attrArn,
        format: JSON.stringify({
          at: '$context.requestTimeEpoch',
          from: '$context.identity.sourceIp',
          route: '$context.routeKey',
          status: '$context.status',
          error: '$context.error.message',
          took_ms: '$context.responseLatency',
        }),
      },
    });
    new CfnPermission(this, 'WebhookPermission', {
      action: 'lambda:InvokeFunction',
      functionName: made.ref,
      principal: 'apigateway.amazonaws.com',
      sourceArn: this.yard.arn('execute-api', `${api.ref}/*/*`),
    });
    new CfnOutput(this, 'WebhookAddress', { value: api.attrApiEndpoint });
  }
}
