# The spec and an environment as they are written, with something else in place of a part, and what the checks say.

variable "environment" {
  type    = string
  default = "prod"
}

# Fields of the spec's sections, or a section.
variable "spec" {
  type    = any
  default = {}
}

variable "parameters" {
  type    = any
  default = {}
}

locals {
  folder       = "${path.module}/../../../spec"
  spec         = jsondecode(file("${local.folder}/yard.json"))
  environments = jsondecode(file("${local.folder}/environments.json"))
  broken       = { for name, part in var.spec : name => try(merge(local.spec[name], part), part) }
}

module "checks" {
  source            = "../../checks"
  written           = merge(local.spec, local.broken)
  schema            = jsondecode(file("${local.folder}/yard.schema.json"))
  parameters        = merge(local.environments[var.environment], var.parameters)
  parameters_schema = jsondecode(file("${local.folder}/environments.schema.json")).additionalProperties
  account           = "123456789012"
}

output "spec" {
  value = local.spec
}

output "environments" {
  value = local.environments
}

output "said" {
  value = join("\n", module.checks.problems)
}
