# What is refused before anything is made: a spec or parameters that do not fit their schema, or that contradict
# themselves.

variable "written" {
  description = "yard.json as it is written."
  type        = any
}

variable "schema" {
  description = "yard.schema.json."
  type        = any
}

variable "parameters" {
  description = "One entry of environments.json."
  type        = any
}

variable "parameters_schema" {
  description = "The schema of one entry of environments.json."
  type        = any
}

variable "account" {
  description = "The account that it is made in."
  type        = string
}

module "spec" {
  source = "../schema"
  value  = var.written
  schema = var.schema
}

module "parameters" {
  source = "../schema"
  value  = var.parameters
  schema = var.parameters_schema
}

locals {
  # AWS's own share of each machine's memory: the container agent, the system, the drivers.
  usable_memory = 0.9
  # What AWS asks of a queue that a function takes from: visibility of so many times the function's timeout.
  timeouts_of_visibility = 6

  spec       = var.written
  parameters = var.parameters

  # Each is let pass where a field that it needs is missing or mistyped: the schema has said so.
  taken = try([for name, described in local.spec.functions : {
    least         = local.timeouts_of_visibility * try(described.timeout_s, local.spec.function_defaults.timeout_s)
    timeout_at    = can(described.timeout_s) ? "/functions/${name}/timeout_s" : "/function_defaults/timeout_s"
    visibility    = try(local.spec.queues[described.queue].visibility_s, local.spec.queue_defaults.visibility_s)
    visibility_at = can(local.spec.queues[described.queue].visibility_s) ? "/queues/${described.queue}/visibility_s" : "/queue_defaults/visibility_s"
  } if can(described.queue)], [])
  times = distinct([for taken in local.taken : join(" ", [
    "${taken.visibility_at} is ${taken.visibility}; it must be at least ${taken.least},",
    "${local.timeouts_of_visibility} times ${taken.timeout_at},",
    "or messages come back while a function still has them",
  ]) if taken.visibility < taken.least])
  asked = try(flatten([for name, pool in local.spec.pools : [for type in pool.machines : {
    pool  = name
    type  = type
    known = contains(keys(local.spec.machines), type)
    asks  = { vcpus = pool.vcpus, memory_mb = pool.memory_mb, gpus = pool.gpus }
    has = {
      vcpus     = try(local.spec.machines[type].vcpus, 0)
      memory_mb = floor(try(local.spec.machines[type].memory_mb, 0) * local.usable_memory)
      gpus      = try(local.spec.machines[type].gpus, 0)
    }
  }]]), [])
  unknown_machines = [
    for ask in local.asked : "/pools/${ask.pool}/machines names ${ask.type}, which /machines lacks; say there what it has"
    if !ask.known
  ]
  too_much = flatten([for ask in local.asked : [for what, count in ask.asks : join(" ", [
    "/pools/${ask.pool}/${what} asks for ${count}; a ${ask.type} has ${ask.has[what]} for it,",
    "so its workers would wait for ever",
    ])
    if ask.known && count > ask.has[what]
  ]])
  idle_machines = try([
    for type in keys(local.spec.machines) :
    "/machines/${type} is in no pool; add it to the machines of one, or remove it"
    if !contains(local.asked[*].type, type)
  ], [])
  roles = try(flatten([for name, role in local.spec.roles : concat(
    [for policy in role.policies : "/roles/${name}/policies names ${policy}, which /policies lacks"
    if !contains(keys(local.spec.policies), policy)],
    [for function in try([role.function], []) : "/roles/${name}/function names ${function}, which /functions lacks"
    if !contains(keys(local.spec.functions), function)],
  )]), [])

  unknown_pools = try([
    for name in keys(local.parameters.pools) :
    "/pools/${name} is no pool of yard.json; it has ${join(", ", keys(local.spec.pools))}"
    if !contains(keys(local.spec.pools), name)
  ], [])
  sizes = try({ for name, size in local.parameters.pools : name => {
    most = coalesce(try(size.max_workers, null), local.spec.pools[name].max_workers)
    warm = coalesce(try(size.warm_workers, null), local.spec.pools[name].warm_workers)
  } if contains(keys(local.spec.pools), name) }, {})
  too_warm = [
    for name, size in local.sizes : "/pools/${name}/warm_workers is ${size.warm}, more than max_workers, ${size.most}"
    if size.warm > size.most
  ]
  no_judge = [for problem in ["/judge is true, and /pools has no judge; add it there"] : problem
    if try(local.parameters.judge, false) == true && !can(local.parameters.pools.judge)
  ]
  unknown_alarms = try([
    for alarm in keys(local.parameters.alarm_thresholds) :
    "/alarm_thresholds/${alarm} is no alarm of yard.json; it has ${join(", ", keys(local.spec.alarms))}"
    if !contains(keys(local.spec.alarms), alarm)
  ], [])
  pollers = try([
    for pollers in [local.parameters.pollers] : "/pollers/min is ${pollers.min}, more than max, ${pollers.max}"
    if pollers.min > pollers.max
  ], [])
  accounts = try([
    for account in [local.parameters.account] : "/account is ${account}; var.account is ${var.account}"
    if account != var.account
  ], [])

  unpaged = try([
    for emails in [local.parameters.page_emails] :
    "/page_emails is empty, and this is production; name whom its alarms page"
    if local.parameters.production && length(emails) == 0
  ], [])
  zones = try([
    for zones in [local.parameters.zones] : join(" ", [
      "/zones names ${length(zones)};",
      "/network/zones of yard.json has addresses for ${length(local.spec.network.zones)}",
    ]) if length(zones) > length(local.spec.network.zones)
  ], [])
  zones_of_another = try([
    for zones in [local.parameters.zones] :
    "/zones is for a network that is made, and /network names one that is there"
    if zones != null && local.parameters.network != null
  ], [])

  of_spec = concat(
    module.spec.problems, local.times, local.unknown_machines, local.too_much, local.idle_machines, local.roles
  )
  of_parameters = concat(
    module.parameters.problems, local.unknown_pools, local.too_warm, local.no_judge, local.unknown_alarms, local.pollers, local.accounts,
    local.unpaged, local.zones, local.zones_of_another
  )
  problems = concat(
    [for problem in local.of_spec : "yard.json: ${problem}"],
    [for problem in local.of_parameters : "parameters: ${problem}"],
  )
}

output "problems" {
  description = "What is wrong, each with its file and place; none if nothing is."
  value       = local.problems
}
