# Alarms, the one that pages, who is told, and the dashboard.

locals {
  # Those that page do so together, so that one outage is one page; but what must be told also while that pages already.
  together = { for name, alarm in local.alarms : name => alarm.tells == "page" && !try(alarm.alone, false) }
  paging   = [for name, alarm in local.alarms : alarm.name if local.together[name]]

  emails = merge([for topic, emails in { page = var.parameters.page_emails, notice = var.parameters.notice_emails } :
    { for email in emails : "${topic} ${email}" => { topic = topic, email = email } }
  ]...)
}

resource "aws_sns_topic" "topic" {
  for_each = local.spec.topics

  name              = each.value
  kms_master_key_id = aws_kms_alias.yard.name
  tags              = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = "${local.sns}:${each.value}"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
      },
      {
        Sid       = "OnlyOverTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = "${local.sns}:${each.value}"
        Condition = local.only_tls
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = local.emails

  topic_arn = "${local.sns}:${aws_sns_topic.topic[each.value.topic].name}"
  protocol  = "email"
  endpoint  = each.value.email
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = each.value.name
  alarm_description   = "${each.value.says} docs/runbook.md#${each.value.key}"
  comparison_operator = each.value.is_below ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = try(each.value.silence_alarms, false) ? "breaching" : "notBreaching"
  alarm_actions       = local.together[each.key] ? [] : ["${local.sns}:${aws_sns_topic.topic[each.value.tells].name}"]
  ok_actions          = local.together[each.key] ? [] : ["${local.sns}:${aws_sns_topic.topic[each.value.tells].name}"]
  tags                = local.tags

  namespace   = try(each.value.metric.namespace, null)
  metric_name = try(each.value.metric.name, null)
  statistic   = try(each.value.metric.statistic, null)
  dimensions  = try(each.value.metric.dimensions, null)
  period      = can(each.value.metric) ? each.value.period_s : null

  dynamic "metric_query" {
    for_each = try(each.value.metrics, {})
    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = metric_query.value.statistic
        period      = each.value.period_s
      }
    }
  }

  dynamic "metric_query" {
    for_each = try([each.value.expression], [])
    content {
      id          = "value"
      expression  = metric_query.value
      label       = each.value.key
      return_data = true
    }
  }
}

resource "aws_cloudwatch_composite_alarm" "page" {
  alarm_name        = local.spec.page_alarm
  alarm_description = "Proving does not keep up, or nobody can tell. docs/runbook.md"
  alarm_rule        = join(" OR ", [for name in local.paging : "ALARM(\"${name}\")"])
  alarm_actions     = ["${local.sns}:${aws_sns_topic.topic["page"].name}"]
  ok_actions        = ["${local.sns}:${aws_sns_topic.topic["page"].name}"]
  tags              = local.tags

  depends_on = [aws_cloudwatch_metric_alarm.alarm]
}

resource "aws_cloudwatch_dashboard" "yard" {
  dashboard_name = local.spec.table.name
  dashboard_body = local.filled.dashboard
}
