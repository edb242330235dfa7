variable "parameters" {
  description = "What differs from one deployment to the next: one entry of infra/spec/environments.json."

  type = object({
    # At most 32 of a-z, 0-9 and single dashes; part of every name, so that several yards live in one account.
    yard = string
    # The provider has to be of the same.
    region = string
    # If it is there, it has to be var.account.
    account = optional(string)
    # The workers' image, in the account's own registry.
    image = object({ repository = string, tag = string })
    # Which of the spec's pools there are, and how large.
    pools = map(object({ max_workers = optional(number), warm_workers = optional(number) }))
    # Nothing is handed on before a judge has verified it; then no pool's workers advance. Needs the pool `judge`.
    judge = optional(bool, false)
    # Where machines run; without it, a network is made, with public addresses and no way in.
    network = optional(object({ vpc_id = string, subnet_ids = list(string) }))
    # Somebody relies on it: without anybody who is paged, it is refused.
    production = optional(bool)
    # The availability zones of a network that is made, two at least; without it, those of var.zones.
    zones = optional(list(string))
    # The table, the bucket, the key and the secret withstand a destroy, and the table can be restored to any second.
    keep_data          = bool
    log_retention_days = number
    webhook            = object({ requests_per_s = number, burst = number })
    # Pollers of the FIFO queues that are always there, for latency; without them, AWS scales pollers itself.
    pollers = optional(object({ min = number, max = number }))
    # ARNs of the queues, topics and event buses that pipelines name as sinks; the notifier may send to no others.
    sink_targets = optional(list(string), [])
    # The function that tells sinks which hold keys is there, and may have these keys of KMS sign, by their ARNs. Without it there
    # is no such function, secret or queue: what holds keys and is not needed is a risk. With `acts` it also does the tasks of
    # stages with an action, for which it writes what workers write.
    proposer      = optional(object({ acts = optional(bool, false), kms_keys = optional(list(string), []) }))
    page_emails   = list(string)
    notice_emails = list(string)
    # By alarm, in place of the spec's.
    alarm_thresholds = map(number)
  })
}

# Given, and not asked of AWS, so that a plan needs no network and says every name and every policy.
variable "account" {
  description = "The AWS account, 12 digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "account is \"${var.account}\"; it must be the 12 digits of an AWS account."
  }
}

variable "partition" {
  description = "The AWS partition that the region is in."
  type        = string
  default     = "aws"
}

variable "url_suffix" {
  description = "What the names of AWS's services end in, in this partition."
  type        = string
  default     = "amazonaws.com"
}

variable "zones" {
  description = "The availability zones that the account has, where the parameters name none: the first of them, as many as the spec has addresses for, or fewer; by default the region's a, b, c."
  type        = list(string)
  default     = null
}

variable "functions" {
  description = "The folder of the functions' programs, BINARY/bootstrap and, by zip.sh, BINARY.zip; by default target/lambda."
  type        = string
  default     = null
}

variable "functions_bucket" {
  description = "The bucket that whoever deploys has put each function's BINARY.zip in, in place of a folder."
  type        = string
  default     = null
}

variable "spec_folder" {
  description = "Where yard.json, its schemas, dashboard.json and machine.sh are; by default infra/spec."
  type        = string
  default     = null
}
