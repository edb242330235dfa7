/**
 * What differs from one deployment to the next: `infra/spec/environments.json`, one entry for each environment. Both
 * front ends take the same; `infra/spec/environments.schema.json` is the same in the words of a JSON schema.
 */

export interface Parameters {
  /** At most 32 of a-z, 0-9 and single dashes; part of every name, so that several yards live in one account. */
  readonly yard: string;
  readonly region: string;
  /** Without it, the account of the credentials that deploy. */
  readonly account?: string;
  /** The workers' image, in the account's own registry. */
  readonly image: { readonly repository: string; readonly tag: string };
  /** Which of the spec's pools there are, and how large. */
  readonly pools: Readonly<Record<string, PoolSize>>;
  /** Nothing is handed on before a judge has verified it; then no pool's workers advance. Needs the pool `judge`. */
  readonly judge?: boolean;
  /** Where machines run; without it, a network is made, with public addresses and no way in. */
  readonly network?: { readonly vpc_id: string; readonly subnet_ids: readonly string[] };
  /** Somebody relies on it: without anybody who is paged, it is refused. */
  readonly production?: boolean;
  /** The availability zones of a network that is made, two at least; without it, the first three that the account has. */
  readonly zones?: readonly string[];
  /** The table and the bucket stay when the yard is destroyed, and the table can be restored to any second. */
  readonly keep_data: boolean;
  readonly log_retention_days: number;
  readonly webhook: { readonly requests_per_s: number; readonly burst: number };
  /** Pollers of the FIFO queues that are always there, for latency; without them, AWS scales pollers itself. */
  readonly pollers?: { readonly min: number; readonly max: number };
  /** ARNs of the queues, topics and event buses that pipelines name as sinks; the notifier may send to no others. */
  readonly sink_targets?: readonly string[];
  /**
   * The function that tells sinks which hold keys is there, and may have these keys of KMS sign, by their ARNs. Without it
   * there is no such function, secret or queue: what holds keys and is not needed is a risk. With `acts` it also does the tasks
   * of stages with an action, for which it writes what workers write.
   */
  readonly proposer?: { readonly acts?: boolean; readonly kms_keys?: readonly string[] };
  readonly page_emails: readonly string[];
  readonly notice_emails: readonly string[];
  /** By alarm, in place of the spec's. */
  readonly alarm_thresholds: Readonly<Record<string, number>>;
}

export interface PoolSize {
  readonly max_workers?: number;
  readonly warm_workers?: number;
}
