# Hands on a value in which there is no problem. What is made from its output is made of nothing else.

variable "value" {
  description = "What was looked at."
  type        = any
}

variable "problems" {
  description = "What is wrong with it, each with its place."
  type        = list(string)
}

output "value" {
  description = "The value, if nothing is wrong with it."
  value       = var.value

  precondition {
    condition     = length(var.problems) == 0
    error_message = join("\n", var.problems)
  }
}
