# Compares a value with a JSON schema, as far as the schemas in infra/spec go, and lists what is wrong with the place of
# each. Terraform by itself reads an unknown field as no field at all.

variable "value" {
  description = "What is looked at; a field that is null counts as not there."
  type        = any
}

variable "schema" {
  description = "A JSON schema whose references lead to its own $defs, which hold none."
  type        = any
}

locals {
  # References are replaced in the text, so that every later step sees plain schemas.
  reference = "\\{\"\\$ref\":\"#/\\$defs/([a-z_]+)\"\\}"
  parts     = regexall("\\{\"\\$ref\":\"[^\"]*\"\\}|[^{]+|\\{", jsonencode(var.schema))
  resolved = jsondecode(join("", [
    for part in local.parts : try(jsonencode(var.schema["$defs"][regex(local.reference, part)[0]]), part)
  ]))

  # One list for each depth: HCL has no recursion.
  depth_0 = [{ place = "", value = var.value, schema = local.resolved }]
  depth_1 = flatten([for at in local.depth_0 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])
  depth_2 = flatten([for at in local.depth_1 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])
  depth_3 = flatten([for at in local.depth_2 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])
  depth_4 = flatten([for at in local.depth_3 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])
  depth_5 = flatten([for at in local.depth_4 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])
  depth_6 = flatten([for at in local.depth_5 : try([for key, held in at.value : {
    place  = "${at.place}/${key}"
    value  = held
    schema = try(at.schema.properties[key], at.schema.items, at.schema.additionalProperties, {})
  } if held != null], [])])

  # What a value is, by the first character of its JSON; all else are numbers.
  types = { "\"" = "string", "{" = "object", "[" = "array", "t" = "boolean", "f" = "boolean" }
  places = [
    for at in concat(
      local.depth_0, local.depth_1, local.depth_2, local.depth_3, local.depth_4, local.depth_5, local.depth_6
      ) : {
      place  = at.place == "" ? "/" : at.place
      value  = at.value
      schema = at.schema
      type = lookup(
        local.types, substr(jsonencode(at.value), 0, 1), try(floor(at.value) == at.value, false) ? "integer" : "number"
      )
    }
  ]

  unknown = [for at in local.places : "${at.place} is no field of it" if jsonencode(at.schema) == "false"]
  mistyped = flatten([for at in local.places : [
    for type in try([at.schema.type], []) : "${at.place} is of type ${at.type}; it must be of type ${type}"
    if type != at.type && !(type == "number" && at.type == "integer")
  ]])
  missing = flatten([for at in local.places : [
    for key in try(at.schema.required, []) : "${at.place} lacks ${key}" if try(at.value[key], null) == null
  ]])
  small = flatten([for at in local.places : concat(
    [for least in try([at.schema.minimum], []) : "${at.place} is ${at.value}; it must be at least ${least}"
    if try(at.value < least, false)],
    [for least in try([at.schema.minItems], [at.schema.minProperties], [at.schema.minLength], []) :
      "${at.place} has ${length(at.value)}; it must have at least ${least}"
    if try(length(at.value) < least, false)],
  )])
  large = flatten([for at in local.places : concat(
    [for most in try([at.schema.maximum], []) : "${at.place} is ${at.value}; it must be at most ${most}"
    if try(at.value > most, false)],
    [for most in try([at.schema.maxLength], []) :
      "${at.place} has ${length(at.value)} characters; it must have at most ${most}"
    if try(length(at.value) > most, false)],
  )])
  misfit = flatten([for at in local.places : concat(
    [for among in try([at.schema.enum], []) :
      "${at.place} is ${jsonencode(at.value)}; it must be one of ${jsonencode(among)}"
    if !contains(among, at.value)],
    [for pattern in try([at.schema.pattern], []) : "${at.place} is ${jsonencode(at.value)}; it must match ${pattern}"
    if !can(regex(pattern, at.value))],
    flatten([for pattern in try([at.schema.propertyNames.pattern], []) : [
      for key in keys(at.value) : "${at.place}: ${key} must match ${pattern}" if !can(regex(pattern, key))
    ]]),
  )])
  # Of several sets of fields, exactly one.
  undecided = flatten([for at in local.places : [for choice in try(at.schema.allOf, []) :
    "${at.place} must have exactly one of ${join(", ", [for way in choice.oneOf : join(" with ", way.required)])}"
    if 1 != length([
      for way in choice.oneOf : way if alltrue([for key in way.required : try(at.value[key], null) != null])
    ])
  ]])
}

output "problems" {
  description = "What is wrong, each with its place; none if nothing is."
  value = concat(
    local.unknown, local.mistyped, local.missing, local.small, local.large, local.misfit, local.undecided
  )
}
