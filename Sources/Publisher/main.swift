print("publisher")
