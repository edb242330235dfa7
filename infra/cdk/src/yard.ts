/** One yard: the spec filled in with its parameters, and what follows from both. Every stack is made from this. */

import { Aws } from 'aws-cdk-lib';
import type { Parameters } from './parameters';
import { asked, filled, poolsOf, type AlarmSpec, type Pool, type Spec, type Statement } from './spec';

export interface Queue {
  /** Its key in the spec, and its pool if it is one's. */
  readonly key: string;
  readonly pool?: string;
  readonly name: string;
  readonly fifo: boolean;
  readonly contentBasedDeduplication: boolean;
  readonly retentionS: number;
  readonly visibilityS: number;
  /** Where its messages end that nothing can be done with; without it, it is itself such a place. */
  readonly deadLetters?: string;
}

export interface Role {
  readonly key: string;
  readonly name: string;
  readonly service: string;
  readonly function?: string;
  readonly pool?: string;
  readonly statements: readonly Statement[];
}

export interface Alarm extends AlarmSpec {
  /** As the spec calls it; an alarm that is there for each of something has several names. */
  readonly key: string;
  readonly name: string;
}

export class Yard {
  readonly spec: Spec;
  readonly pools: Readonly<Record<string, Pool>>;
  private readonly written: Spec;
  private readonly values: Record<string, string>;

  constructor(spec: Spec, readonly parameters: Parameters) {
    this.values = {
      yard: parameters.yard,
      account: Aws.ACCOUNT_ID,
      region: Aws.REGION,
      partition: Aws.PARTITION,
      url_suffix: Aws.URL_SUFFIX,
      repository: parameters.image.repository,
      tag: parameters.image.tag,
    };
    this.written = asked(spec, parameters);
    this.pools = Object.fromEntries(
      Object.entries(poolsOf(spec, parameters)).map(([pool, found]) => [pool, this.fill(found, { pool })]),
    );
    this.spec = this.fill(this.written);
  }

  get poolNames(): string[] {
    return Object.keys(this.parameters.pools);
  }

  fill<T>(value: T, more: Record<string, string> = {}): T {
    return filled(value, { ...this.values, ...more }, this.poolNames);
  }

  arn(service: string, resource: string): string {
    return `arn:${Aws.PARTITION}:${service}:${Aws.REGION}:${Aws.ACCOUNT_ID}:${resource}`;
  }

  /** Those that messages come to, without their dead letters. */
  queues(): Queue[] {
    const { queue_defaults: defaults } = this.spec;
    return Object.entries(this.spec.queues).flatMap(([key, queue]) => {
      const pools = queue.each_pool ? this.poolNames : [undefined];
      return pools.map((pool) => {
        const name = pool === undefined ? queue.name : this.fill(queue.name, { pool });
        return {
          key,
          pool,
          name,
          fifo: queue.fifo,
          contentBasedDeduplication: queue.content_based_deduplication ?? false,
          retentionS: queue.retention_s ?? defaults.retention_s,
          visibilityS: queue.visibility_s ?? defaults.visibility_s,
          deadLetters: queue.takes_dead_letters ? undefined : deadLettersOf(name, defaults.dead_letter_suffix),
        };
      });
    });
  }

  queueNamed(key: string): Queue {
    const queue = this.queues().find((candidate) => candidate.key === key);
    if (queue === undefined) {
      throw new Error(`the spec has no queue ${key}`);
    }
    return queue;
  }

  functionName(name: string): string {
    return this.fill(this.spec.function_defaults.name, { function: name });
  }

  /** What a pool's jobs are called that stay. */
  warmJobDefinition(pool: Pool): string {
    return pool.job_definition + this.spec.batch.warm_suffix;
  }

  roles(): Role[] {
    return Object.entries(this.written.roles).flatMap(([key, role]) => {
      const pools = role.advance === undefined ? [undefined] : this.poolNames.filter((pool) => this.pools[pool].advance === role.advance);
      return pools.map((pool) => {
        const queue = role.function === undefined ? undefined : this.written.functions[role.function].queue;
        const taken = queue === undefined ? undefined : this.queueNamed(queue);
        const values: Record<string, string> = {
          ...(pool === undefined ? {} : { pool }),
          ...(role.function === undefined ? {} : { function: role.function }),
          ...(taken === undefined ? {} : { queue: taken.name, dead_letters: taken.deadLetters ?? '' }),
        };
        const statements = role.policies.flatMap((policy) => this.written.policies[policy]);
        return {
          key,
          name: this.fill(role.name, values),
          service: role.service,
          function: role.function,
          pool,
          statements: [
            ...this.fill(statements, values),
            ...(role.tells_targets ? this.targetStatements() : []),
            ...(role.signs ? this.keyStatements() : []),
          ],
        };
      });
    });
  }

  /** Nothing where the parameters name no target of a service. */
  private targetStatements(): Statement[] {
    return Object.entries(this.spec.sinks.target_actions).flatMap(([service, action]) => {
      const resources = (this.parameters.sink_targets ?? []).filter((arn) => arn.split(':')[2] === service);
      return resources.length === 0 ? [] : [{ actions: [action], resources }];
    });
  }

  /** Nothing where the parameters name no key. */
  private keyStatements(): Statement[] {
    const resources = this.parameters.proposer?.kms_keys ?? [];
    return resources.length === 0 ? [] : [{ actions: this.spec.proposer.key_actions, resources }];
  }

  roleOfFunction(name: string): Role {
    return this.roles().find((role) => role.function === name)!;
  }

  roleOfPool(pool: string): Role {
    return this.roles().find((role) => role.pool === pool)!;
  }

  alarms(): Alarm[] {
    return Object.entries(this.written.alarms).flatMap(([key, written]) => {
      const threshold = this.parameters.alarm_thresholds[key];
      const alarm = threshold === undefined ? written : { ...written, ...(written.below === undefined ? { above: threshold } : { below: threshold }) };
      return this.each(alarm.each).map(([suffix, values]) => ({
        ...this.fill(alarm, values),
        key,
        name: `${this.tableName}-${key}${suffix}`,
      }));
    });
  }

  /** One for each of something: what its name ends in, and what is filled in for it. */
  private each(kind: AlarmSpec['each']): [string, Record<string, string>][] {
    const prefix = `${this.tableName}-`;
    const short = (queue: string) => `-${queue.replace(prefix, '').replace('.fifo', '')}`;
    switch (kind) {
      case undefined:
        return [['', {}]];
      case 'pool':
        return this.poolNames.map((pool) => [`-${pool}`, { pool }]);
      case 'function':
        return Object.keys(this.spec.functions).map((name) => [`-${name}`, { function: name }]);
      case 'mapped_queue':
        return Object.values(this.spec.functions)
          .flatMap(({ queue }) => (queue === undefined ? [] : [this.queueNamed(queue).name]))
          .map((queue) => [short(queue), { queue }]);
      case 'dead_letter_queue':
        return this.queues()
          .map((queue) => queue.deadLetters ?? queue.name)
          .map((queue) => [short(queue), { queue }]);
    }
  }

  /** What every resource's name begins with, and the table's name. */
  get tableName(): string {
    return this.spec.table.name;
  }

  /** What functions are told of the pools, as the yard's programs read it. */
  poolsForFunctions(): string {
    const told = Object.entries(this.pools).map(([name, pool]) => [
      name,
      {
        job_queue: pool.job_queue,
        job_definition: pool.job_definition,
        warm_job_definition: this.warmJobDefinition(pool),
        max_workers: pool.max_workers,
        warm_workers: pool.warm_workers,
        max_tasks: pool.max_tasks,
      },
    ]);
    return JSON.stringify(Object.fromEntries(told));
  }

  /** What every program of the yard finds in its environment. */
  environment(): Record<string, string> {
    const { yard, judge } = this.parameters;
    return { PROOFYARD_YARD: yard, PROOFYARD_BUCKET: this.spec.bucket.name, PROOFYARD_JUDGE: String(judge ?? false) };
  }
}

function deadLettersOf(queue: string, suffix: string): string {
  return queue.endsWith('.fifo') ? `${queue.slice(0, -'.fifo'.length)}${suffix}.fifo` : queue + suffix;
}

/** A name as a logical id has it: OldestMessageBlocks. */
export function pascal(name: string): string {
  return name
    .split(/[^A-Za-z0-9]+/)
    .filter((part) => part !== '')
    .map((part) => part[0].toUpperCase() + part.slice(1))
    .join('');
}
