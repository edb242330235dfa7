# The functions, what brings each its events, and the webhook in front of the one that takes blocks.

locals {
  functions_folder = coalesce(var.functions, "${path.module}/../../target/lambda")

  # The next minute's schedule comes anyway.
  schedule_age_s   = 60
  schedule_retries = 1

  # What functions are told of the pools, as the yard's programs read it.
  told_of_pools = jsonencode({ for name, pool in local.pools : name => {
    job_queue           = pool.job_queue
    job_definition      = pool.job_definition
    warm_job_definition = "${pool.job_definition}${local.spec.batch.warm_suffix}"
    max_workers         = pool.max_workers
    warm_workers        = pool.warm_workers
    max_tasks           = pool.max_tasks
  } })

  told_of_secret = { PROOFYARD_WEBHOOK_SECRET_ID = local.spec.webhook.secret }

  mapped   = { for name, described in local.spec.functions : name => described if can(described.queue) }
  webhooks = { for name, described in local.spec.functions : name => described if try(described.webhook, false) }
  # Pollers that are always there are for FIFO queues.
  polled = { for name, described in local.mapped :
    name => var.parameters.pollers != null && local.queues[described.queue].fifo
  }
  programs = { for name, described in local.spec.functions :
    name => "${local.functions_folder}/${described.binary}/bootstrap"
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.spec.functions

  name              = replace(local.spec.function_defaults.log_group, "{function}", each.key)
  retention_in_days = var.parameters.log_retention_days
  tags              = local.tags
}

resource "aws_lambda_function" "function" {
  for_each = local.spec.functions

  function_name = local.function_names[each.key]
  runtime       = local.spec.function_defaults.runtime
  architectures = [local.spec.function_defaults.architecture]
  handler       = "bootstrap"
  role          = "${local.iam}:role/${aws_iam_role.role[local.role_of_function[each.key]].name}"
  timeout       = try(each.value.timeout_s, local.spec.function_defaults.timeout_s)
  memory_size   = try(each.value.memory_mb, local.spec.function_defaults.memory_mb)
  tags          = local.tags

  filename  = var.functions_bucket == null ? "${local.functions_folder}/${each.value.binary}.zip" : null
  s3_bucket = var.functions_bucket
  s3_key    = var.functions_bucket == null ? null : "${each.value.binary}.zip"
  # A zip's hash differs from build to build, a program's does not, so that an unchanged function is not deployed again.
  source_code_hash = var.functions_bucket == null ? filebase64sha256(local.programs[each.key]) : null

  environment {
    variables = merge(
      local.environment,
      { RUST_LOG = "info" },
      try(each.value.webhook, false) ? local.told_of_secret : { PROOFYARD_POOLS = local.told_of_pools },
    )
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  depends_on = [aws_iam_role_policy.role]
}

# Those that take from a queue also write to it: what is left when an event's time is over. State says when that ends, so
# Lambda need not stop it after some rounds.
resource "aws_lambda_function_recursion_config" "function" {
  for_each = local.mapped

  function_name  = aws_lambda_function.function[each.key].function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_event_source_mapping" "queue" {
  for_each = local.mapped

  event_source_arn        = "${local.sqs}:${aws_sqs_queue.queue[each.value.queue].name}"
  function_name           = aws_lambda_function.function[each.key].function_name
  batch_size              = each.value.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  # They exclude each other.
  dynamic "provisioned_poller_config" {
    for_each = local.polled[each.key] ? [var.parameters.pollers] : []
    content {
      minimum_pollers = provisioned_poller_config.value.min
      maximum_pollers = provisioned_poller_config.value.max
    }
  }

  dynamic "scaling_config" {
    for_each = local.polled[each.key] ? [] : [each.value.max_concurrency]
    content {
      maximum_concurrency = scaling_config.value
    }
  }
}

resource "aws_cloudwatch_event_rule" "schedule" {
  for_each = local.schedules

  name                = local.function_names[each.key]
  schedule_expression = each.value
  state               = "ENABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "schedule" {
  for_each = local.schedules

  rule      = aws_cloudwatch_event_rule.schedule[each.key].name
  target_id = "function"
  arn       = "${local.lambda}:function:${aws_lambda_function.function[each.key].function_name}"

  dead_letter_config {
    arn = "${local.sqs}:${aws_sqs_queue.queue["undelivered"].name}"
  }

  retry_policy {
    maximum_event_age_in_seconds = local.schedule_age_s
    maximum_retry_attempts       = local.schedule_retries
  }
}

resource "aws_lambda_permission" "schedule" {
  for_each = local.schedules

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function[each.key].function_name
  principal     = "events.amazonaws.com"
  source_arn    = "${local.events}:rule/${aws_cloudwatch_event_rule.schedule[each.key].name}"
}

resource "aws_lambda_function_event_invoke_config" "schedule" {
  for_each = local.schedules

  function_name                = aws_lambda_function.function[each.key].function_name
  qualifier                    = "$LATEST"
  maximum_event_age_in_seconds = local.schedule_age_s
  maximum_retry_attempts       = local.schedule_retries

  destination_config {
    on_failure {
      destination = "${local.sqs}:${aws_sqs_queue.queue["undelivered"].name}"
    }
  }
}

resource "aws_apigatewayv2_api" "webhook" {
  for_each = local.webhooks

  name          = local.spec.webhook.api
  protocol_type = "HTTP"
  tags          = local.tags
}

resource "aws_apigatewayv2_integration" "webhook" {
  for_each = local.webhooks

  api_id                 = aws_apigatewayv2_api.webhook[each.key].id
  integration_type       = "AWS_PROXY"
  integration_method     = "POST"
  integration_uri        = "${local.lambda}:function:${aws_lambda_function.function[each.key].function_name}"
  payload_format_version = "2.0"
  timeout_milliseconds   = (local.spec.function_defaults.timeout_s + 1) * 1000
}

# Its own signature authenticates a request.
resource "aws_apigatewayv2_route" "webhook" {
  for_each = local.webhooks

  api_id             = aws_apigatewayv2_api.webhook[each.key].id
  route_key          = local.spec.webhook.route
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.webhook[each.key].id}"
}

resource "aws_cloudwatch_log_group" "webhook" {
  for_each = local.webhooks

  name              = "/proofyard/${local.yard}/webhook"
  retention_in_days = var.parameters.log_retention_days
  tags              = local.tags
}

resource "aws_apigatewayv2_stage" "webhook" {
  for_each = local.webhooks

  api_id      = aws_apigatewayv2_api.webhook[each.key].id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_rate_limit  = var.parameters.webhook.requests_per_s
    throttling_burst_limit = var.parameters.webhook.burst
  }

  access_log_settings {
    destination_arn = "${local.logs}:log-group:${aws_cloudwatch_log_group.webhook[each.key].name}"
    format = jsonencode({
      at      = "$context.requestTimeEpoch"
      from    = "$context.identity.sourceIp"
      route   = "$context.routeKey"
      status  = "$context.status"
      error   = "$context.error.message"
      took_ms = "$context.responseLatency"
    })
  }
}

resource "aws_lambda_permission" "webhook" {
  for_each = local.webhooks

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${local.arn}:execute-api:${local.place}:${aws_apigatewayv2_api.webhook[each.key].id}/*/*"
}
