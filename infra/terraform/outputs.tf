output "webhook_address" {
  description = "Where senders of block events post them."
  value       = one([for api in aws_apigatewayv2_api.webhook : api.api_endpoint])
}
