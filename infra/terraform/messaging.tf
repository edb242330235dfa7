# The queues with their dead letters, and what AWS itself puts on them: the end of jobs, and spot machines taken back.

locals {
  # For so long a queue uses one data key: fewer calls to the key, which cost.
  data_key_reuse_s = 3600

  # The schedule of a function has the function's name.
  schedules = { for name, described in local.spec.functions : name => described.schedule if can(described.schedule) }
  # Which rules may put messages on a queue; those that cannot be delivered end where dead letters are taken.
  rules = { for id, queue in local.queues : id => concat(
    [for event in local.spec.events : event.name if event.queue == queue.key || queue.takes_dead_letters],
    [for name in keys(local.schedules) : local.function_names[name] if queue.takes_dead_letters],
  ) }
  tls_statements = { for name in keys(local.queue_ends) : name => {
    Sid       = "OnlyOverTls"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Resource  = "${local.sqs}:${name}"
    Condition = local.only_tls
  } }
  rule_statements = { for id, rules in local.rules : id => [for names in [rules] : {
    Sid       = "WhatAwsTells"
    Effect    = "Allow"
    Principal = { Service = "events.amazonaws.com" }
    Action    = "sqs:SendMessage"
    Resource  = "${local.sqs}:${local.queues[id].name}"
    Condition = { ArnEquals = { "aws:SourceArn" = [for name in names : "${local.events}:rule/${name}"] } }
  } if length(names) > 0] }
}

resource "aws_sqs_queue" "dead" {
  for_each = local.dead_letters

  name                              = each.value
  message_retention_seconds         = local.spec.queue_defaults.retention_s
  max_message_size                  = local.spec.queue_defaults.max_message_bytes
  kms_master_key_id                 = aws_kms_alias.yard.name
  kms_data_key_reuse_period_seconds = local.data_key_reuse_s
  fifo_queue                        = local.queues[each.key].fifo
  content_based_deduplication       = local.queues[each.key].content_based_deduplication
  deduplication_scope               = local.queues[each.key].fifo ? "messageGroup" : null
  fifo_throughput_limit             = local.queues[each.key].fifo ? "perMessageGroupId" : null
  tags                              = local.tags

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [local.tls_statements[each.value]]
  })
}

resource "aws_sqs_queue" "queue" {
  for_each = local.queues

  name                       = each.value.name
  message_retention_seconds  = each.value.retention_s
  visibility_timeout_seconds = each.value.visibility_s
  max_message_size           = local.spec.queue_defaults.max_message_bytes
  # What could not be delivered for the key's sake must not need the key.
  kms_master_key_id                 = each.value.takes_dead_letters ? null : aws_kms_alias.yard.name
  kms_data_key_reuse_period_seconds = each.value.takes_dead_letters ? null : local.data_key_reuse_s
  sqs_managed_sse_enabled           = each.value.takes_dead_letters ? true : null
  fifo_queue                        = each.value.fifo
  content_based_deduplication       = each.value.content_based_deduplication
  deduplication_scope               = each.value.fifo ? "messageGroup" : null
  fifo_throughput_limit             = each.value.fifo ? "perMessageGroupId" : null
  tags                              = merge(local.tags, each.key == "propose" && local.acts ? { (local.spec.proposer.acts_tag) = "true" } : {})

  redrive_policy = each.value.takes_dead_letters ? null : jsonencode({
    deadLetterTargetArn = "${local.sqs}:${aws_sqs_queue.dead[each.key].name}"
    maxReceiveCount     = local.spec.queue_defaults.receives_before_dead_letter
  })
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.tls_statements[each.value.name]], local.rule_statements[each.key])
  })
}

resource "aws_cloudwatch_event_rule" "event" {
  for_each = local.spec.events

  name          = each.value.name
  event_pattern = jsonencode(each.value.pattern)
  state         = "ENABLED"
  tags          = local.tags
}

resource "aws_cloudwatch_event_target" "event" {
  for_each = local.spec.events

  rule      = aws_cloudwatch_event_rule.event[each.key].name
  target_id = "queue"
  arn       = "${local.sqs}:${aws_sqs_queue.queue[each.value.queue].name}"

  sqs_target {
    message_group_id = each.value.group
  }

  dead_letter_config {
    arn = "${local.sqs}:${aws_sqs_queue.queue["undelivered"].name}"
  }
}
