import Engine

print("portico")
