/** What several stacks have in common. */

import { CfnResource, RemovalPolicy, Stack, type StackProps, Tags } from 'aws-cdk-lib';
import { CfnRole } from 'aws-cdk-lib/aws-iam';
import { CfnLogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { pascal, type Role, type Yard } from '../yard';

/** For the policy of a resource: nothing is done to it in clear text. */
export function onlyOverTls(action: string, resource: string | string[]): object {
  return {
    Sid: 'OnlyOverTls',
    Effect: 'Deny',
    Principal: '*',
    Action: action,
    Resource: resource,
    Condition: { Bool: { 'aws:SecureTransport': 'false' } },
  };
}

export class YardStack extends Stack {
  constructor(scope: Construct, readonly yard: Yard, part: string, props: StackProps, says: string) {
    super(scope, part, { ...props, stackName: `${yard.tableName}-${part}`, description: `Proofyard, yard ${yard.parameters.yard}: ${says}` });
    Tags.of(this).add('proofyard:yard', yard.parameters.yard);
  }

  /** What holds data stays when the stack goes, if the environment says so; but not what a first try left that failed. */
  protected keep(resource: CfnResource): void {
    resource.applyRemovalPolicy(this.yard.parameters.keep_data ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY);
  }

  protected logGroup(name: string): CfnLogGroup {
    const group = new CfnLogGroup(this, `Log${pascal(name)}`, {
      logGroupName: name,
      retentionInDays: this.yard.parameters.log_retention_days,
    });
    group.applyRemovalPolicy(RemovalPolicy.DESTROY);
    return group;
  }

  /** Exactly what the spec says: no policy of AWS's own, nothing that a construct adds by itself. */
  protected role(role: Role): CfnRole {
    return new CfnRole(this, `Role${pascal(role.key)}${pascal(role.pool ?? '')}`, {
      roleName: role.name,
      assumeRolePolicyDocument: {
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Principal: { Service: role.service }, Action: 'sts:AssumeRole' }],
      },
      policies: [
        {
          policyName: 'yard',
          policyDocument: {
            Version: '2012-10-17',
            Statement: role.statements.map(({ actions, resources, leading_keys: keys }) => ({
              Effect: 'Allow',
              Action: actions,
              Resource: resources,
              ...(keys === undefined ? {} : { Condition: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': keys } } }),
            })),
          },
        },
      ],
    });
  }
}
