# Exactly what the spec says: no policy of AWS's own.

resource "aws_iam_role" "role" {
  for_each = local.roles

  name = each.value.name
  tags = local.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = each.value.service }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "role" {
  for_each = local.roles

  name = "yard"
  role = aws_iam_role.role[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for statement in each.value.statements : merge(
      { Effect = "Allow", Action = statement.actions, Resource = statement.resources },
      try({ Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = statement.leading_keys } } }, {}),
    )]
  })
}

resource "aws_iam_instance_profile" "instance" {
  name = aws_iam_role.role["instance"].name
  role = aws_iam_role.role["instance"].name
  tags = local.tags
}
