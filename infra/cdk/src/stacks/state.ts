/** What outlives everything else: the table, the bucket, the key that both are encrypted under, the webhook's secret, and those of nodes and of sinks. */

import type { StackProps } from 'aws-cdk-lib';
import { Aws } from 'aws-cdk-lib';
import { CfnTable } from 'aws-cdk-lib/aws-dynamodb';
import { CfnAlias, CfnKey } from 'aws-cdk-lib/aws-kms';
import { CfnBucket, CfnBucketPolicy } from 'aws-cdk-lib/aws-s3';
import { CfnSecret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import type { Key } from '../spec';
import type { Yard } from '../yard';
import { onlyOverTls, YardStack } from './common';

export class StateStack extends YardStack {
  constructor(scope: Construct, yard: Yard, props: StackProps) {
    super(scope, yard, 'state', props, 'its table, bucket and keys');
    const key = this.makeKey();
    this.makeTable(key);
    this.makeBucket(key);
    this.makeSecrets(key);
  }

  private makeKey(): CfnKey {
    const { alias, services } = this.yard.spec.key;
    const account = `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:root`;
    const key = new CfnKey(this, 'Key', {
      description: `Proofyard, yard ${this.yard.parameters.yard}`,
      enableKeyRotation: true,
      keyPolicy: {
        Version: '2012-10-17',
        Statement: [
          { Sid: 'Account', Effect: 'Allow', Principal: { AWS: account }, Action: 'kms:*', Resource: '*' },
          {
            // As AWS's own keys have it: who may use the table may use what it is encrypted under, through the table.
            Sid: 'ThroughServices',
            Effect: 'Allow',
            Principal: { AWS: '*' },
            Action: ['kms:CreateGrant', 'kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'],
            Resource: '*',
            Condition: {
              StringEquals: {
                'kms:CallerAccount': Aws.ACCOUNT_ID,
                'kms:ViaService': services.map((service) => `${service}.${Aws.REGION}.${Aws.URL_SUFFIX}`),
              },
            },
          },
          {
            // EventBridge does not say for whom it asks. What it may write is limited by the policy of each queue.
            Sid: 'Events',
            Effect: 'Allow',
            Principal: { Service: 'events.amazonaws.com' },
            Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
            Resource: '*',
          },
          {
            Sid: 'Alarms',
            Effect: 'Allow',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
            Resource: '*',
            Condition: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
          },
        ],
      },
    });
    this.keep(key);
    new CfnAlias(this, 'KeyAlias', { aliasName: alias, targetKeyId: key.ref });
    return key;
  }

  private makeTable(key: CfnKey): void {
    const { table } = this.yard.spec;
    const { index } = table;
    const keys = [table.partition_key, table.sort_key, index.partition_key, index.sort_key];
    const schema = (partition: Key, sort: Key) => [
      { attributeName: partition.name, keyType: 'HASH' },
      { attributeName: sort.name, keyType: 'RANGE' },
    ];
    const made = new CfnTable(this, 'Table', {
      tableName: table.name,
      billingMode: 'PAY_PER_REQUEST',
      attributeDefinitions: keys.map(({ name, type }) => ({ attributeName: name, attributeType: type })),
      keySchema: schema(table.partition_key, table.sort_key),
      globalSecondaryIndexes: [
        { indexName: index.name, keySchema: schema(index.partition_key, index.sort_key), projection: { projectionType: 'KEYS_ONLY' } },
      ],
      timeToLiveSpecification: { attributeName: table.ttl_attribute, enabled: true },
      sseSpecification: { sseEnabled: true, sseType: 'KMS', kmsMasterKeyId: key.attrArn },
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: this.yard.parameters.keep_data },
      deletionProtectionEnabled: this.yard.parameters.keep_data,
    });
    this.keep(made);
  }

  private makeBucket(key: CfnKey): void {
    const { bucket } = this.yard.spec;
    const made = new CfnBucket(this, 'Bucket', {
      bucketName: bucket.name,
      bucketEncryption: {
        serverSideEncryptionConfiguration: [
          { serverSideEncryptionByDefault: { sseAlgorithm: 'aws:kms', kmsMasterKeyId: key.attrArn }, bucketKeyEnabled: true },
        ],
      },
      publicAccessBlockConfiguration: { blockPublicAcls: true, blockPublicPolicy: true, ignorePublicAcls: true, restrictPublicBuckets: true },
      ownershipControls: { rules: [{ objectOwnership: 'BucketOwnerEnforced' }] },
      lifecycleConfiguration: {
        rules: [
          {
            id: 'abort-uploads',
            status: 'Enabled',
            prefix: '',
            abortIncompleteMultipartUpload: { daysAfterInitiation: bucket.abort_uploads_after_days },
          },
          // What an attempt left for the next one: of no use once the task is done.
          { id: 'expire-made', status: 'Enabled', prefix: 'made/', expirationInDays: bucket.expire_made_after_days },
        ],
      },
    });
    this.keep(made);
    const policy = new CfnBucketPolicy(this, 'BucketPolicy', {
      bucket: made.ref,
      policyDocument: {
        Version: '2012-10-17',
        Statement: [
          onlyOverTls('s3:*', [made.attrArn, `${made.attrArn}/*`]),
        ],
      },
    });
    this.keep(policy);
  }

  private makeSecrets(key: CfnKey): void {
    const secret = new CfnSecret(this, 'WebhookSecret', {
      name: this.yard.spec.webhook.secret,
      description: 'What senders of block events sign with',
      kmsKeyId: key.attrArn,
      generateSecretString: { passwordLength: 48, excludePunctuation: true },
    });
    this.keep(secret);
    // It holds nothing until somebody puts it there.
    const nodes = new CfnSecret(this, 'NodesSecret', {
      name: this.yard.spec.nodes.secret,
      description: 'URLs of nodes that have a key in them, by the names that pipelines give them',
      kmsKeyId: key.attrArn,
    });
    this.keep(nodes);
    const sinks = new CfnSecret(this, 'SinksSecret', {
      name: this.yard.spec.sinks.secret,
      description: 'What sinks need from outside, by the names that pipelines give it',
      kmsKeyId: key.attrArn,
    });
    this.keep(sinks);
    if (this.yard.parameters.proposer !== undefined) {
      const keys = new CfnSecret(this, 'KeysSecret', {
        name: this.yard.spec.proposer.secret,
        description: 'What sinks that hold keys need from outside, by the names that pipelines give it',
        kmsKeyId: key.attrArn,
      });
      this.keep(keys);
    }
  }
}
