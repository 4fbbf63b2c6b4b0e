"""A bundle's model measured on the device that is to run it, through OpenSSH's client."""
