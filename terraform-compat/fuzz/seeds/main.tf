resource "aws_instance" "web" {
  count = 2
}
module "net" {
  source = "./"
}
