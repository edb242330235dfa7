/**
 * The shared spec, `infra/spec/yard.json`, as this front end reads it: checked against its schema and against itself
 * before anything is made of it, and filled in for one yard.
 */

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Ajv from 'ajv';
import type { Parameters } from './parameters';

export const SPEC_FOLDER = resolve(__dirname, '..', '..', '..', 'spec');

export interface Key {
  readonly name: string;
  readonly type: string;
}

/** What is there only where the parameters name it. */
export interface OnlyWith {
  readonly only_with?: 'proposer';
}

export interface QueueSpec extends OnlyWith {
  readonly name: string;
  readonly fifo: boolean;
  readonly content_based_deduplication?: boolean;
  readonly each_pool?: boolean;
  readonly takes_dead_letters?: boolean;
  readonly retention_s?: number;
  readonly visibility_s?: number;
}

export interface FunctionSpec extends OnlyWith {
  readonly binary: string;
  readonly webhook?: boolean;
  readonly queue?: string;
  readonly batch_size?: number;
  readonly max_concurrency?: number;
  readonly schedule?: string;
  readonly timeout_s?: number;
  readonly memory_mb?: number;
}

export interface Pool {
  readonly job_queue: string;
  readonly job_definition: string;
  readonly machines: readonly string[];
  /** Who takes the steps that a result leads to. */
  readonly advance: 'collector' | 'judge' | 'worker';
  readonly max_workers: number;
  readonly warm_workers: number;
  readonly max_tasks: number;
  readonly idle_out_ms: number;
  readonly vcpus: number;
  readonly memory_mb: number;
  readonly gpus: number;
  readonly attempts: number;
  readonly timeout_s: number;
}

export interface Statement {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  /** The partition keys of the table that it is limited to. */
  readonly leading_keys?: readonly string[];
}

export interface RoleSpec extends OnlyWith {
  readonly name: string;
  readonly service: string;
  readonly policies: readonly string[];
  /** In their place, where the parameters have the proposer act. */
  readonly acting_policies?: readonly string[];
  readonly function?: string;
  /** It may send to the queues, topics and buses of the yard's parameters. */
  readonly tells_targets?: boolean;
  /** It may have the keys of the yard's parameters sign. */
  readonly signs?: boolean;
  /** One role for each pool that advances so. */
  readonly advance?: 'collector' | 'judge' | 'worker';
}

export interface Metric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: string;
}

export interface AlarmSpec {
  readonly says: string;
  readonly tells: 'page' | 'notice';
  /** It pages by itself, also while another one does already. */
  readonly alone?: boolean;
  readonly each?: 'mapped_queue' | 'dead_letter_queue' | 'function' | 'pool';
  readonly metric?: Metric;
  readonly expression?: string;
  readonly metrics?: Readonly<Record<string, Metric>>;
  readonly above?: number;
  readonly below?: number;
  readonly period_s: number;
  readonly periods: number;
  readonly silence_alarms?: boolean;
}

export interface Spec {
  readonly table: {
    readonly name: string;
    readonly partition_key: Key;
    readonly sort_key: Key;
    readonly ttl_attribute: string;
    readonly index: { readonly name: string; readonly partition_key: Key; readonly sort_key: Key };
  };
  readonly bucket: { readonly name: string; readonly abort_uploads_after_days: number; readonly expire_made_after_days: number };
  readonly key: { readonly alias: string; readonly services: readonly string[] };
  readonly webhook: { readonly api: string; readonly route: string; readonly secret: string };
  readonly nodes: { readonly secret: string };
  /** What may be done to a target of the yard's parameters, by the service in its ARN. */
  readonly sinks: { readonly secret: string; readonly target_actions: Readonly<Record<string, string>> };
  /** What holds keys: its secret, what may be done to a key of the yard's parameters, and the tag of its queue by which it is known to act. */
  readonly proposer: { readonly secret: string; readonly key_actions: readonly string[]; readonly acts_tag: string };
  readonly queues: Readonly<Record<string, QueueSpec>>;
  readonly queue_defaults: {
    readonly visibility_s: number;
    readonly retention_s: number;
    readonly receives_before_dead_letter: number;
    readonly max_message_bytes: number;
    readonly dead_letter_suffix: string;
  };
  readonly functions: Readonly<Record<string, FunctionSpec>>;
  readonly function_defaults: {
    readonly name: string;
    readonly runtime: string;
    readonly architecture: string;
    readonly timeout_s: number;
    readonly memory_mb: number;
    readonly log_group: string;
  };
  readonly events: Readonly<
    Record<string, { readonly name: string; readonly pattern: object; readonly queue: string; readonly group: string }>
  >;
  readonly machines: Readonly<Record<string, { readonly vcpus: number; readonly memory_mb: number; readonly gpus: number }>>;
  readonly pools: Readonly<Record<string, Pool>>;
  readonly batch: {
    readonly scheduling_policy: string;
    readonly shares: { readonly warm: number; readonly burst: number };
    readonly warm_suffix: string;
    readonly warm_timeout_s: number;
    readonly spot_environment: string;
    readonly on_demand_environment: string;
    readonly launch_template: string;
    readonly log_group: string;
    readonly root_volume_gb: number;
    readonly scratch: string;
    readonly runnable_limit_s: number;
    readonly spot_allocation: string;
    readonly on_demand_allocation: string;
  };
  readonly network: { readonly cidr: string; readonly zones: readonly string[] };
  readonly worker: { readonly image: string; readonly command: readonly string[] };
  readonly policies: Readonly<Record<string, readonly Statement[]>>;
  readonly roles: Readonly<Record<string, RoleSpec>>;
  readonly topics: { readonly page: string; readonly notice: string };
  readonly alarms: Readonly<Record<string, AlarmSpec>>;
  readonly page_alarm: string;
}

/** What is wrong with the spec or with an environment: the file, the place in it, and the way out. */
export class BadSpec extends Error {}

/** AWS's own share of each machine's memory: the container agent, the system, the drivers. */
const USABLE_MEMORY = 0.9;
/** What AWS asks of a queue that a function takes from: visibility of so many times the function's timeout. */
const TIMEOUTS_OF_VISIBILITY = 6;

export function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new BadSpec(`${file} cannot be read: ${(error as Error).message}`);
  }
}

function checkSchema(file: string, schemaFile: string, content: unknown): void {
  const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false });
  const validate = ajv.compile(readJson(join(SPEC_FOLDER, schemaFile)) as object);
  if (validate(content)) {
    return;
  }
  const said = (validate.errors ?? []).map((error) => {
    const { additionalProperty } = error.params as { additionalProperty?: string };
    return additionalProperty === undefined
      ? `${error.instancePath || '/'} ${error.message}`
      : `${error.instancePath}/${additionalProperty} is no field of it`;
  });
  throw new BadSpec(`${file}: ${said.join('; ')}; see ${schemaFile}`);
}

/** The spec as it is written, checked. */
export function readSpec(file = join(SPEC_FOLDER, 'yard.json')): Spec {
  const content = readJson(file);
  checkSchema(file, 'yard.schema.json', content);
  const spec = content as Spec;
  const bad = (place: string, what: string): never => {
    throw new BadSpec(`${file}: ${place} ${what}`);
  };
  checkTimes(spec, bad);
  checkMachines(spec, bad);
  for (const [name, role] of Object.entries(spec.roles)) {
    for (const list of ['policies', 'acting_policies'] as const) {
      const unknown = (role[list] ?? []).filter((policy) => !(policy in spec.policies));
      unknown.forEach((policy) => bad(`/roles/${name}/${list}`, `names ${policy}, which /policies lacks`));
    }
    if (role.function !== undefined && !(role.function in spec.functions)) {
      bad(`/roles/${name}/function`, `names ${role.function}, which /functions lacks`);
    }
  }
  return spec;
}

type Bad = (place: string, what: string) => never;

function checkTimes(spec: Spec, bad: Bad): void {
  for (const [name, described] of Object.entries(spec.functions)) {
    const queue = described.queue === undefined ? undefined : spec.queues[described.queue];
    if (queue === undefined) {
      continue;
    }
    const [timeout, of] =
      described.timeout_s === undefined
        ? [spec.function_defaults.timeout_s, '/function_defaults/timeout_s']
        : [described.timeout_s, `/functions/${name}/timeout_s`];
    const [visibility, place] =
      queue.visibility_s === undefined
        ? [spec.queue_defaults.visibility_s, '/queue_defaults/visibility_s']
        : [queue.visibility_s, `/queues/${described.queue}/visibility_s`];
    const least = TIMEOUTS_OF_VISIBILITY * timeout;
    if (visibility < least) {
      bad(
        place,
        `is ${visibility}; it must be at least ${least}, ${TIMEOUTS_OF_VISIBILITY} times ${of}, ` +
          'or messages come back while a function still has them',
      );
    }
  }
}

function checkMachines(spec: Spec, bad: Bad): void {
  for (const [name, pool] of Object.entries(spec.pools)) {
    for (const type of pool.machines) {
      const machine = spec.machines[type] ?? bad(`/pools/${name}/machines`, `names ${type}, which /machines lacks; say there what it has`);
      const asks = { vcpus: pool.vcpus, memory_mb: pool.memory_mb, gpus: pool.gpus };
      const has = { ...machine, memory_mb: Math.floor(machine.memory_mb * USABLE_MEMORY) };
      for (const what of ['vcpus', 'memory_mb', 'gpus'] as const) {
        if (asks[what] > has[what]) {
          bad(`/pools/${name}/${what}`, `asks for ${asks[what]}; a ${type} has ${has[what]} for it, so its workers would wait for ever`);
        }
      }
    }
  }
  for (const type of Object.keys(spec.machines)) {
    if (!Object.values(spec.pools).some((pool) => pool.machines.includes(type))) {
      bad(`/machines/${type}`, 'is in no pool; add it to the machines of one, or remove it');
    }
  }
}

/** The environments as they are written, checked against the spec. */
export function readEnvironments(spec: Spec, file = join(SPEC_FOLDER, 'environments.json')): Record<string, Parameters> {
  const content = readJson(file);
  checkSchema(file, 'environments.schema.json', content);
  const environments = content as Record<string, Parameters>;
  const checked: [string, Parameters][] = [];
  for (const [name, parameters] of Object.entries(environments)) {
    const bad: Bad = (place, what) => {
      throw new BadSpec(`${file}: /${name}${place} ${what}`);
    };
    checkParameters(spec, parameters, bad);
    // Roles have no region, so that one account has a yard's name once. One that is not named may be any.
    const { account, yard } = parameters;
    const owner = checked.find(([, other]) => other.yard === yard && (account === undefined || (other.account ?? account) === account));
    if (owner !== undefined) {
      bad('/yard', `is ${yard}, as that of /${owner[0]}; give it a name of its own, or give both an account, which must differ`);
    }
    checked.push([name, parameters]);
  }
  return environments;
}

function checkParameters(spec: Spec, parameters: Parameters, bad: Bad): void {
  for (const [pool, size] of Object.entries(parameters.pools)) {
    const known = spec.pools[pool] ?? bad(`/pools/${pool}`, `is no pool of yard.json; it has ${Object.keys(spec.pools).join(', ')}`);
    const { max_workers: most, warm_workers: warm } = { ...known, ...size };
    if (warm > most) {
      bad(`/pools/${pool}/warm_workers`, `is ${warm}, more than max_workers, ${most}`);
    }
  }
  if (parameters.judge && parameters.pools.judge === undefined) {
    bad('/judge', 'is true, and /pools has no judge; add it there');
  }
  for (const alarm of Object.keys(parameters.alarm_thresholds)) {
    if (!(alarm in spec.alarms)) {
      bad(`/alarm_thresholds/${alarm}`, `is no alarm of yard.json; it has ${Object.keys(spec.alarms).join(', ')}`);
    }
  }
  const { zones, network } = parameters;
  if (zones !== undefined && zones.length > spec.network.zones.length) {
    bad('/zones', `names ${zones.length}; /network/zones of yard.json has addresses for ${spec.network.zones.length}`);
  }
  if (zones !== undefined && network !== undefined) {
    bad('/zones', 'is for a network that is made, and /network names one that is there');
  }
  if (parameters.pollers !== undefined && parameters.pollers.min > parameters.pollers.max) {
    bad('/pollers/min', `is ${parameters.pollers.min}, more than max, ${parameters.pollers.max}`);
  }
}

/** Of the environment that is to be deployed: production tells somebody. */
export function checkPaged(name: string, parameters: Parameters): void {
  if (parameters.production && parameters.page_emails.length === 0) {
    throw new BadSpec(`environments.json: /${name}/page_emails is empty, and /${name} is production; name whom its alarms page`);
  }
}

export type Values = Readonly<Record<string, string>>;

/** Fills in what stands in braces; a text in a list that names {each_pool} becomes one for each. */
export function filled<T>(value: T, values: Values, pools: readonly string[]): T {
  const fill = (inner: unknown): unknown => {
    if (typeof inner === 'string') {
      return inner.replace(/\{([a-z_]+)\}/g, (whole, name: string) => values[name] ?? whole);
    }
    if (Array.isArray(inner)) {
      return inner.flatMap((item) =>
        typeof item === 'string' && item.includes('{each_pool}')
          ? pools.map((pool) => filled(item, { ...values, each_pool: pool }, pools))
          : [fill(item)],
      );
    }
    if (inner !== null && typeof inner === 'object') {
      return Object.fromEntries(Object.entries(inner).map(([key, held]) => [key, fill(held)]));
    }
    return inner;
  };
  return fill(value) as T;
}

/** The spec without what the parameters do not ask for. */
export function asked(spec: Spec, parameters: Parameters): Spec {
  const kept = <T extends OnlyWith>(parts: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(parts).filter(([, { only_with: needs }]) => needs === undefined || parameters[needs] !== undefined));
  const acts = parameters.proposer?.acts ?? false;
  const roles = Object.entries(kept(spec.roles)).map(([name, role]): [string, RoleSpec] => [
    name,
    acts && role.acting_policies !== undefined ? { ...role, policies: role.acting_policies } : role,
  ]);
  return { ...spec, queues: kept(spec.queues), functions: kept(spec.functions), roles: Object.fromEntries(roles) };
}

/** The pools that an environment has, as large as it wants them. */
export function poolsOf(spec: Spec, { pools, judge }: Parameters): Record<string, Pool> {
  return Object.fromEntries(
    Object.entries(pools).map(([name, size]) => {
      const pool = { ...spec.pools[name], ...size };
      // Whoever advances commits, so where there is a judge workers do not.
      return [name, judge && pool.advance === 'worker' ? { ...pool, advance: 'collector' as const } : pool];
    }),
  );
}
