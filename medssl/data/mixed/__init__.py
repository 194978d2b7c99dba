"""Images, slices and volumes that train one encoder together."""
