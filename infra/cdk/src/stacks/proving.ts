/** AWS Batch: for each pool spot machines, with machines at full price behind them, and the jobs that are its workers. */

import type { StackProps } from 'aws-cdk-lib';
import { Aws, Fn } from 'aws-cdk-lib';
import { CfnComputeEnvironment, CfnJobDefinition, CfnJobQueue, CfnSchedulingPolicy } from 'aws-cdk-lib/aws-batch';
import {
  CfnInternetGateway,
  CfnLaunchTemplate,
  CfnRoute,
  CfnRouteTable,
  CfnSecurityGroup,
  CfnSubnet,
  CfnSubnetRouteTableAssociation,
  CfnVPC,
  CfnVPCEndpoint,
  CfnVPCGatewayAttachment,
} from 'aws-cdk-lib/aws-ec2';
import { CfnInstanceProfile, type CfnRole } from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SPEC_FOLDER, type Pool } from '../spec';
import { pascal, type Yard } from '../yard';
import { YardStack } from './common';

interface Network {
  readonly vpc: string;
  readonly subnets: string[];
}

/** Asked for by queues with a scheduling policy; it ranks jobs of one share, which here are all alike. */
const PRIORITY = 1;
/** Work that was given is forgotten by fair shares within so long. */
const SHARE_DECAY_S = 3_600;

export class ProvingStack extends YardStack {
  constructor(scope: Construct, yard: Yard, props: StackProps) {
    super(scope, yard, 'proving', props, 'the machines that prove');
    const { spec } = yard;
    const network = yard.parameters.network === undefined ? this.makeNetwork() : { vpc: yard.parameters.network.vpc_id, subnets: [...yard.parameters.network.subnet_ids] };
    const group = this.makeSecurityGroup(network);
    const roles = new Map(yard.roles().filter((role) => role.service !== 'lambda.amazonaws.com').map((role) => [role.name, this.role(role)]));
    const instance = this.makeInstanceProfile(roles.get(spec.roles.instance.name)!);
    const policy = new CfnSchedulingPolicy(this, 'Shares', {
      name: spec.batch.scheduling_policy,
      fairsharePolicy: {
        shareDecaySeconds: SHARE_DECAY_S,
        shareDistribution: Object.entries(spec.batch.shares).map(([share, weight]) => ({ shareIdentifier: share, weightFactor: weight })),
      },
    });
    for (const [name, pool] of Object.entries(yard.pools)) {
      const environments = this.makeEnvironments(name, pool, network, group, instance);
      this.makeJobQueue(name, pool, policy, environments);
      this.makeJobs(name, pool, roles.get(yard.roleOfPool(name).name)!, roles.get(spec.roles.execution.name)!);
    }
  }

  /** Public addresses and no way in: without a gateway that costs by the hour, a yard at rest costs nothing here. */
  private makeNetwork(): Network {
    const { network } = this.yard.spec;
    const vpc = new CfnVPC(this, 'Network', { cidrBlock: network.cidr, enableDnsHostnames: true, enableDnsSupport: true });
    const gateway = new CfnInternetGateway(this, 'Gateway');
    const attached = new CfnVPCGatewayAttachment(this, 'GatewayAttachment', { vpcId: vpc.ref, internetGatewayId: gateway.ref });
    const routes = new CfnRouteTable(this, 'Routes', { vpcId: vpc.ref });
    const out = new CfnRoute(this, 'RouteOut', { routeTableId: routes.ref, destinationCidrBlock: '0.0.0.0/0', gatewayId: gateway.ref });
    out.addResourceDependency(attached);
    const { zones } = this.yard.parameters;
    const subnets = network.zones.slice(0, zones?.length).map((cidr, place) => {
      const subnet = new CfnSubnet(this, `Subnet${place}`, {
        vpcId: vpc.ref,
        cidrBlock: cidr,
        availabilityZone: zones?.[place] ?? Fn.select(place, Fn.getAzs()),
        mapPublicIpOnLaunch: true,
      });
      new CfnSubnetRouteTableAssociation(this, `Subnet${place}Routes`, { subnetId: subnet.ref, routeTableId: routes.ref });
      return subnet.ref;
    });
    for (const service of ['s3', 'dynamodb']) {
      new CfnVPCEndpoint(this, `Endpoint${pascal(service)}`, {
        vpcId: vpc.ref,
        serviceName: `com.amazonaws.${Aws.REGION}.${service}`,
        vpcEndpointType: 'Gateway',
        routeTableIds: [routes.ref],
      });
    }
    return { vpc: vpc.ref, subnets };
  }

  private makeSecurityGroup(network: Network): CfnSecurityGroup {
    return new CfnSecurityGroup(this, 'SecurityGroup', {
      groupName: `${this.yard.tableName}-workers`,
      groupDescription: 'Workers: nothing comes in, HTTPS goes out',
      vpcId: network.vpc,
      securityGroupEgress: [{ ipProtocol: 'tcp', fromPort: 443, toPort: 443, cidrIp: '0.0.0.0/0', description: 'AWS' }],
    });
  }

  private makeInstanceProfile(role: CfnRole): CfnInstanceProfile {
    return new CfnInstanceProfile(this, 'InstanceProfile', { instanceProfileName: role.roleName, roles: [role.ref] });
  }

  private makeEnvironments(name: string, pool: Pool, network: Network, group: CfnSecurityGroup, instance: CfnInstanceProfile): CfnComputeEnvironment[] {
    const { batch, machines } = this.yard.spec;
    const template = this.makeLaunchTemplate(name);
    const vcpus = Math.max(...pool.machines.map((type) => machines[type].vcpus));
    const kinds = [
      { kind: 'SPOT', environment: batch.spot_environment, allocation: batch.spot_allocation },
      { kind: 'EC2', environment: batch.on_demand_environment, allocation: batch.on_demand_allocation },
    ];
    return kinds.map(({ kind, environment, allocation }) =>
      new CfnComputeEnvironment(this, `Machines${pascal(name)}${pascal(kind.toLowerCase())}`, {
        computeEnvironmentName: this.yard.fill(environment, { pool: name }),
        type: 'MANAGED',
        state: 'ENABLED',
        // In place, so that its name can stay.
        replaceComputeEnvironment: false,
        updatePolicy: { terminateJobsOnUpdate: false, jobExecutionTimeoutMinutes: 60 },
        computeResources: {
          type: kind,
          allocationStrategy: allocation,
          minvCpus: 0,
          maxvCpus: pool.max_workers * vcpus,
          instanceTypes: [...pool.machines],
          instanceRole: instance.attrArn,
          subnets: network.subnets,
          securityGroupIds: [group.attrGroupId],
          ec2Configuration: [{ imageType: pool.gpus > 0 ? 'ECS_AL2023_NVIDIA' : 'ECS_AL2023' }],
          // By its number: what a machine runs when it starts changes for those that start from then on.
          launchTemplate: { launchTemplateName: template.launchTemplateName, version: template.attrLatestVersionNumber },
          updateToLatestImageVersion: true,
          tags: { Name: `${this.yard.tableName}-${name}`, 'proofyard:yard': this.yard.parameters.yard },
        },
      }),
    );
  }

  private makeLaunchTemplate(name: string): CfnLaunchTemplate {
    const { batch } = this.yard.spec;
    const userData = readFileSync(join(SPEC_FOLDER, 'machine.sh'), 'utf8').replaceAll('{scratch}', batch.scratch);
    return new CfnLaunchTemplate(this, `Template${pascal(name)}`, {
      launchTemplateName: this.yard.fill(batch.launch_template, { pool: name }),
      launchTemplateData: {
        metadataOptions: { httpTokens: 'required', httpEndpoint: 'enabled', httpPutResponseHopLimit: 2 },
        blockDeviceMappings: [
          { deviceName: '/dev/xvda', ebs: { volumeType: 'gp3', volumeSize: batch.root_volume_gb, encrypted: true, deleteOnTermination: true } },
        ],
        userData: Fn.base64(mime(userData)),
      },
    });
  }

  private makeJobQueue(name: string, pool: Pool, policy: CfnSchedulingPolicy, environments: CfnComputeEnvironment[]): void {
    const limit = this.yard.spec.batch.runnable_limit_s;
    new CfnJobQueue(this, `Jobs${pascal(name)}`, {
      jobQueueName: pool.job_queue,
      state: 'ENABLED',
      priority: 1,
      schedulingPolicyArn: policy.attrArn,
      // Spot first; full price where there is none.
      computeEnvironmentOrder: environments.map((environment, order) => ({ order: order + 1, computeEnvironment: environment.attrComputeEnvironmentArn })),
      jobStateTimeLimitActions: [
        'CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY',
        'MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE',
        'MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT',
      ].map((reason) => ({ reason, state: 'RUNNABLE', action: 'CANCEL', maxTimeSeconds: limit })),
    });
  }

  private makeJobs(name: string, pool: Pool, role: CfnRole, execution: CfnRole): void {
    const { batch, worker } = this.yard.spec;
    const log = this.logGroup(this.yard.fill(batch.log_group, { pool: name }));
    const command = [...worker.command, '--pool', name];
    const ends = [...(pool.max_tasks > 0 ? ['--max-tasks', String(pool.max_tasks)] : []), '--idle-out-ms', String(pool.idle_out_ms)];
    const needs = Object.entries({ VCPU: pool.vcpus, MEMORY: pool.memory_mb, GPU: pool.gpus });
    const job = (id: string, jobDefinitionName: string, arguments_: string[], timeoutS: number) =>
      new CfnJobDefinition(this, id, {
        jobDefinitionName,
        type: 'container',
        platformCapabilities: ['EC2'],
        propagateTags: true,
        schedulingPriority: PRIORITY,
        containerProperties: {
          image: worker.image,
          command: arguments_,
          jobRoleArn: role.attrArn,
          executionRoleArn: execution.attrArn,
          environment: Object.entries({ ...this.yard.environment(), AWS_REGION: Aws.REGION }).map(([key, value]) => ({ name: key, value })),
          resourceRequirements: needs.filter(([, count]) => count > 0).map(([type, count]) => ({ type, value: String(count) })),
          mountPoints: [{ sourceVolume: 'scratch', containerPath: '/scratch', readOnly: false }],
          volumes: [{ name: 'scratch', host: { sourcePath: batch.scratch } }],
          logConfiguration: {
            logDriver: 'awslogs',
            options: { 'awslogs-group': log.ref, 'awslogs-region': Aws.REGION, 'awslogs-stream-prefix': 'worker' },
          },
        },
        retryStrategy: {
          attempts: pool.attempts,
          evaluateOnExit: [
            { onStatusReason: 'Host EC2*', action: 'RETRY' },
            { onReason: '*', action: 'EXIT' },
          ],
        },
        timeout: { attemptDurationSeconds: timeoutS },
      });
    job(`Worker${pascal(name)}`, pool.job_definition, [...command, ...ends], pool.timeout_s);
    job(`WarmWorker${pascal(name)}`, this.yard.warmJobDefinition(pool), command, batch.warm_timeout_s);
  }
}

/** As Batch takes it: several parts, so that it can add its own. */
function mime(script: string): string {
  const boundary = '==PROOFYARD==';
  return [
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/x-shellscript; charset="us-ascii"',
    '',
    script,
    `--${boundary}--`,
    '',
  ].join('\n');
}
