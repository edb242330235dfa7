/** Alarms, the one that pages, who is told, and the dashboard. */

import type { StackProps } from 'aws-cdk-lib';
import { Aws } from 'aws-cdk-lib';
import { CfnAlarm, CfnCompositeAlarm, CfnDashboard } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnSubscription, CfnTopic, CfnTopicPolicy } from 'aws-cdk-lib/aws-sns';
import type { Construct } from 'constructs';
import { join } from 'node:path';
import { readJson, SPEC_FOLDER, type Metric } from '../spec';
import { type Alarm, pascal, type Yard } from '../yard';
import { onlyOverTls, YardStack } from './common';

export class ObservabilityStack extends YardStack {
  constructor(scope: Construct, yard: Yard, props: StackProps) {
    super(scope, yard, 'observability', props, 'its alarms and its dashboard');
    const { topics } = yard.spec;
    const page = this.topic('Page', topics.page, yard.parameters.page_emails);
    const notice = this.topic('Notice', topics.notice, yard.parameters.notice_emails);
    const alarms = yard.alarms();
    // Those that page do so together, so that one outage is one page.
    const paging = alarms.filter(({ tells, alone }) => tells === 'page' && !alone).map((alarm) => this.alarm(alarm, []));
    // What must be told also while that one pages already.
    alarms.filter(({ tells, alone }) => tells === 'page' && alone).forEach((alarm) => this.alarm(alarm, [page.ref]));
    alarms.filter(({ tells }) => tells === 'notice').forEach((alarm) => this.alarm(alarm, [notice.ref]));
    const composite = new CfnCompositeAlarm(this, 'PageAlarm', {
      alarmName: yard.spec.page_alarm,
      alarmDescription: 'Proving does not keep up, or nobody can tell. docs/runbook.md',
      alarmRule: paging.map((alarm) => `ALARM("${alarm.alarmName}")`).join(' OR '),
      alarmActions: [page.ref],
      okActions: [page.ref],
    });
    paging.forEach((alarm) => composite.addResourceDependency(alarm));
    new CfnDashboard(this, 'Dashboard', {
      dashboardName: yard.tableName,
      dashboardBody: JSON.stringify(yard.fill(readJson(join(SPEC_FOLDER, 'dashboard.json')))),
    });
  }

  private topic(id: string, name: string, emails: readonly string[]): CfnTopic {
    const topic = new CfnTopic(this, `Topic${id}`, { topicName: name, kmsMasterKeyId: this.yard.spec.key.alias });
    new CfnTopicPolicy(this, `Topic${id}Policy`, {
      topics: [topic.ref],
      policyDocument: {
        Version: '2012-10-17',
        Statement: [
          {
            Sid: 'Alarms',
            Effect: 'Allow',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Action: 'sns:Publish',
            Resource: topic.ref,
            Condition: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
          },
          onlyOverTls('sns:Publish', topic.ref),
        ],
      },
    });
    emails.forEach((email, place) => new CfnSubscription(this, `Topic${id}Email${place}`, { topicArn: topic.ref, protocol: 'email', endpoint: email }));
    return topic;
  }

  private alarm(alarm: Alarm, actions: string[]): CfnAlarm {
    return new CfnAlarm(this, `Alarm${pascal(alarm.name.replace(this.yard.tableName, ''))}`, {
      alarmName: alarm.name,
      alarmDescription: `${alarm.says} docs/runbook.md#${alarm.key}`,
      comparisonOperator: alarm.below === undefined ? 'GreaterThanThreshold' : 'LessThanThreshold',
      threshold: alarm.below ?? alarm.above!,
      evaluationPeriods: alarm.periods,
      datapointsToAlarm: alarm.periods,
      treatMissingData: alarm.silence_alarms ? 'breaching' : 'notBreaching',
      alarmActions: actions,
      okActions: actions,
      ...this.measured(alarm),
    });
  }

  private measured(alarm: Alarm) {
    const dimensions = (metric: Metric) => Object.entries(metric.dimensions).map(([name, value]) => ({ name, value }));
    if (alarm.metric !== undefined) {
      const { namespace, name: metricName, statistic } = alarm.metric;
      return { namespace, metricName, statistic, dimensions: dimensions(alarm.metric), period: alarm.period_s };
    }
    const parts = Object.entries(alarm.metrics!).map(([id, metric]) => ({
      id,
      metricStat: {
        metric: { namespace: metric.namespace, metricName: metric.name, dimensions: dimensions(metric) },
        period: alarm.period_s,
        stat: metric.statistic,
      },
      returnData: false,
    }));
    return { metrics: [...parts, { id: 'value', expression: alarm.expression, label: alarm.key, returnData: true }] };
  }
}
