# One yard: the spec filled in with its parameters, and what follows from both. Everything is made from this. All names
# and ARNs are put together here, so that a plan knows them before anything is there.

locals {
  yard   = var.parameters.yard
  region = var.parameters.region
  tags   = { "proofyard:yard" = local.yard }

  # What stands in braces in the spec. Other braces, as in `POST /{chain}`, stay.
  values = {
    "{yard}"       = local.yard
    "{account}"    = var.account
    "{region}"     = local.region
    "{partition}"  = var.partition
    "{url_suffix}" = var.url_suffix
    "{repository}" = var.parameters.image.repository
    "{tag}"        = var.parameters.image.tag
  }
  # A text comes apart into what may be filled in and what is between; both together are the text again.
  token = "\\{[a-z_]+\\}|[^{]+|\\{"

  pool_names = keys(var.parameters.pools)
  # A text in a list that holds {each_pool}, its two sides around that, and such a text for each pool.
  each_pool_text  = "/([\\[,])\"((?:[^\"\\\\]|\\\\.)*)\\{each_pool\\}((?:[^\"\\\\]|\\\\.)*)\"/"
  each_pool_texts = join(",", [for pool in local.pool_names : "\"$${2}${pool}$${3}\""])

  written = {
    yard      = module.checked.value
    dashboard = jsondecode(file("${local.spec_folder}/dashboard.json"))
  }
  texts = {
    for name, value in local.written :
    name => replace(jsonencode(value), local.each_pool_text, "$${1}${local.each_pool_texts}")
  }
  filled = { for name, text in local.texts :
    name => join("", [for part in regexall(local.token, text) : lookup(local.values, part, part)])
  }
  whole = jsondecode(local.filled.yard)
  # Without what is there only where the parameters name it.
  asked = { proposer = var.parameters.proposer != null }
  acts  = try(var.parameters.proposer.acts, false)
  spec = merge(local.whole, { for part in ["queues", "functions", "roles"] :
    part => { for name, described in local.whole[part] : name => described if try(local.asked[described.only_with], true) }
  })

  # The pools that this yard has, as large as it wants them.
  sizes = { for name, size in var.parameters.pools : name => { for what, count in size : what => count if count != null } }
  # Whoever advances commits, so where there is a judge workers do not.
  advance = { for name in local.pool_names : name =>
    var.parameters.judge && local.spec.pools[name].advance == "worker" ? "collector" : local.spec.pools[name].advance
  }
  pools = { for name, size in local.sizes :
    name => jsondecode(replace(jsonencode(merge(local.spec.pools[name], size, { advance = local.advance[name] })), "{pool}", name))
  }
}

locals {
  arn      = "arn:${var.partition}"
  place    = "${local.region}:${var.account}"
  sqs      = "${local.arn}:sqs:${local.place}"
  sns      = "${local.arn}:sns:${local.place}"
  events   = "${local.arn}:events:${local.place}"
  batch    = "${local.arn}:batch:${local.place}"
  logs     = "${local.arn}:logs:${local.place}"
  lambda   = "${local.arn}:lambda:${local.place}"
  iam      = "${local.arn}:iam::${var.account}"
  only_tls = { Bool = { "aws:SecureTransport" = "false" } }
}

locals {
  # By key, or by key and pool for those that each pool has. Without dead letters, a queue is itself where messages end
  # that nothing can be done with.
  queues = { for queue in flatten([
    for key, queue in local.spec.queues : [for pool in try(queue.each_pool, false) ? local.pool_names : [""] : {
      id                          = pool == "" ? key : "${key}-${pool}"
      key                         = key
      name                        = replace(queue.name, "{pool}", pool)
      fifo                        = queue.fifo
      content_based_deduplication = try(queue.content_based_deduplication, false)
      retention_s                 = try(queue.retention_s, local.spec.queue_defaults.retention_s)
      visibility_s                = try(queue.visibility_s, local.spec.queue_defaults.visibility_s)
      takes_dead_letters          = try(queue.takes_dead_letters, false)
    }]
  ]) : queue.id => queue }
  dead_letters = { for id, queue in local.queues : id => join("", [
    trimsuffix(queue.name, ".fifo"), local.spec.queue_defaults.dead_letter_suffix, queue.fifo ? ".fifo" : ""
  ]) if !queue.takes_dead_letters }

  function_names = {
    for name in keys(local.spec.functions) : name => replace(local.spec.function_defaults.name, "{function}", name)
  }

  # What every program of the yard finds in its environment.
  environment = {
    PROOFYARD_YARD   = local.yard
    PROOFYARD_BUCKET = local.spec.bucket.name
    PROOFYARD_JUDGE  = tostring(var.parameters.judge)
  }
}

locals {
  statements = { for key, role in local.spec.roles :
    key => jsonencode(flatten([
      for policy in local.acts ? try(role.acting_policies, role.policies) : role.policies : local.spec.policies[policy]
    ]))
  }
  # What the parameters' queues, topics and buses may be sent; nothing where they name none of a service.
  targets = { for service, action in local.spec.sinks.target_actions :
    service => [for arn in var.parameters.sink_targets : arn if split(":", arn)[2] == service]
  }
  target_statements = [for service, action in local.spec.sinks.target_actions :
    { actions = [action], resources = local.targets[service] } if length(local.targets[service]) > 0
  ]
  kms_keys = try(var.parameters.proposer.kms_keys, [])
  key_statements = length(local.kms_keys) == 0 ? [] : [
    { actions = local.spec.proposer.key_actions, resources = local.kms_keys }
  ]
  # By key, or by key and pool for those that each pool has one of.
  role_values = { for made in flatten([
    for key, role in local.spec.roles : [
      for pool in can(role.advance) ? [for name, pool in local.pools : name if pool.advance == role.advance] : [""] : {
        id   = pool == "" ? key : "${key}-${pool}"
        key  = key
        pool = pool
        values = {
          "{pool}"         = pool == "" ? "{pool}" : pool
          "{function}"     = try(role.function, "{function}")
          "{queue}"        = try(local.queues[local.spec.functions[role.function].queue].name, "{queue}")
          "{dead_letters}" = try(local.dead_letters[local.spec.functions[role.function].queue], "{dead_letters}")
        }
      }
    ]
  ]) : made.id => made }
  roles = { for id, made in local.role_values : id => {
    name     = replace(local.spec.roles[made.key].name, "{pool}", made.pool)
    service  = local.spec.roles[made.key].service
    function = try(local.spec.roles[made.key].function, "")
    pool     = made.pool
    statements = concat(
      jsondecode(join("", [
        for part in regexall(local.token, local.statements[made.key]) : lookup(made.values, part, part)
      ])),
      try(local.spec.roles[made.key].tells_targets, false) ? local.target_statements : [],
      try(local.spec.roles[made.key].signs, false) ? local.key_statements : [],
    )
  } }
  role_of_function = { for id, role in local.roles : role.function => id if role.function != "" }
  role_of_pool     = { for id, role in local.roles : role.pool => id if role.pool != "" }
}

locals {
  # What there is an alarm for each of: what its name ends in, and what is filled in for it.
  queue_ends = { for name in concat([for queue in local.queues : queue.name], values(local.dead_letters)) :
    name => trimsuffix(trimprefix(name, "${local.spec.table.name}-"), ".fifo")
  }
  alarms_each = {
    once     = { "" = {} }
    pool     = { for pool in local.pool_names : "-${pool}" => { "{pool}" = pool } }
    function = { for name in keys(local.spec.functions) : "-${name}" => { "{function}" = name } }
    mapped_queue = { for name in [for described in local.mapped : local.queues[described.queue].name] :
      "-${local.queue_ends[name]}" => { "{queue}" = name }
    }
    dead_letter_queue = { for name in [for id, queue in local.queues : lookup(local.dead_letters, id, queue.name)] :
      "-${local.queue_ends[name]}" => { "{queue}" = name }
    }
  }
  alarms = { for alarm in flatten([
    for key, alarm in local.spec.alarms : [for end, values in local.alarms_each[try(alarm.each, "once")] : merge(
      jsondecode(join("", [for part in regexall(local.token, jsonencode(alarm)) : lookup(values, part, part)])),
      {
        key       = key
        name      = "${local.spec.table.name}-${key}${end}"
        is_below  = can(alarm.below)
        threshold = try(var.parameters.alarm_thresholds[key], alarm.below, alarm.above)
      }
    )]
  ]) : trimprefix(alarm.name, "${local.spec.table.name}-") => alarm }
}
